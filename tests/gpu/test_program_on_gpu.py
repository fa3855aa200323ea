"""A training step on a (stand-in) GPU has the same results as the same variants in the simulator."""

import numpy as np
import pytest

from models.gpt2 import GPT2
from registry import RequestError, discover
from registry.devices import device
from trainer.program.program import Program
from trainer.program.template import StepTemplate

MODEL = GPT2(name="tiny", layers=1, channels=32, heads=2, context=8, vocabulary=29, padded_vocabulary=32)
B, T = 1, 8


def program(where, **named):
    """Return a program of the first CUDA variant of each op that the simulator can run, or of the named variant."""
    table = discover()
    template = StepTemplate(table, MODEL, B, T, micro_steps=2)
    chosen = {}
    for (op, label), call in template.calls_by_key().items():
        known = [v for v in table.variants[op].values() if v.device == "cuda" and v.name != "cuda_cublas"]
        usable = [v for v in known if not v.refusals(call.dims, call.params)]
        chosen[op, label] = table.variant(op, named[op]) if op in named else usable[0]
    instance = Program(template, chosen, device(where) if isinstance(where, str) else where, 1)
    instance.initialise(3)
    return instance


def gpu_device(graphs, lines=None):
    """Return a GPU that this process has reserved."""
    gpu = device("cuda")
    gpu.take(0, 1, graphs=graphs, say=(lines if lines is not None else []).append)
    return gpu


def step(instance):
    """Return all results of a step as numpy arrays and numbers."""
    tokens = np.random.default_rng(1).integers(0, MODEL.vocabulary, (B, T + 1)).astype(np.int32)
    instance.load(tokens[:, :-1], tokens[:, 1:])
    shown = [instance.micro_step(accumulate=False), instance.micro_step(accumulate=True), instance.gradient_norm()]
    instance.apply(learning_rate=0.1, grad_scale=1.0, step=1)
    return [*shown, instance.validate(), *instance.cpu_parameters().values(), instance.next_logits([1, 2, 3])]


def test_a_step_on_the_gpu_is_that_of_the_simulator(gpu):
    there = program("cuda")
    assert isinstance(there.parameters["wte"], gpu.ndarray)
    for result, expected in zip(step(there), step(program("sim")), strict=True):
        assert not isinstance(result, gpu.ndarray)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.usefixtures("gpu")
def test_a_parameter_gone_bad_is_found_on_the_gpu():
    instance = program("cuda")
    step(instance)
    assert instance.first_fault() == ""
    instance.parameters["fcw"].fill(np.inf)
    assert instance.first_fault() == "adamw (fcw) in the step before"


@pytest.mark.usefixtures("gpu")
def test_an_array_of_the_gpu_is_never_mistaken_for_one_of_the_cpu():
    instance = program("cuda")
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(instance.parameters["wte"])


def test_steps_by_cuda_graph_are_those_without(gpu):
    del gpu
    lines = []
    captured, plain = program(gpu_device(graphs=True, lines=lines)), program(gpu_device(graphs=False))
    for _ in range(3):  # the steps run, are captured, and are replayed
        for result, expected in zip(step(captured), step(plain), strict=True):
            np.testing.assert_array_equal(result, expected)
    assert lines == []


def test_captured_and_replayed_steps_equal_launched_steps(gpu):
    instance = program(gpu_device(graphs=True))
    instance.load(*(np.zeros((B, T), np.int32) for _ in range(2)))
    passes = {
        "first": lambda: instance.micro_step(accumulate=False),
        "later": lambda: instance.micro_step(accumulate=True),
        "norm": instance.gradient_norm,
        "validation": instance.validate,
        "sample": lambda: instance.next_logits([1]),
    }
    for name, run in passes.items():
        launched = []
        for _ in range(3):
            gpu.done.clear()
            run()
            launched.append(list(gpu.done))
        assert launched[0] == launched[1] == launched[2], name
        assert [what[0] for _, what in launched[0] if isinstance(what, tuple)] != [], name


def test_a_replayed_step_calls_no_kernel_from_python(gpu, monkeypatch):
    instance = program(gpu_device(graphs=True))
    for _ in range(2):
        step(instance)
    called = []
    monkeypatch.setattr(gpu.RawKernel, "__call__", lambda self, *_, **__: called.append(self.name))
    instance.micro_step(accumulate=False)
    instance.gradient_norm()
    assert called == []
    instance.apply(learning_rate=0.1, grad_scale=1.0, step=3)
    assert len(called) == len(instance.update)  # the learning rate changes, so the update is in no graph


@pytest.mark.parametrize("graphs", [False, True])
def test_all_work_of_a_step_goes_to_one_stream_which_is_not_the_default_one(gpu, graphs):
    instance = program(gpu_device(graphs=graphs))
    step(instance)
    step(instance)
    [stream] = {stream for stream, _ in gpu.done}
    assert stream not in {0, gpu.cuda.Stream.null.ptr}


def test_a_library_s_call_which_no_graph_holds_is_said_once_and_made_as_it_is(gpu):
    del gpu
    lines = []
    captured = program(gpu_device(graphs=True, lines=lines), matmul="cuda_cublas")
    plain = program(gpu_device(graphs=False), matmul="cuda_cublas")
    for _ in range(3):
        for result, expected in zip(step(captured), step(plain), strict=True):
            np.testing.assert_array_equal(result, expected)
    [line] = lines
    assert "cuBLAS" in line


@pytest.mark.usefixtures("gpu")
def test_more_processes_than_gpus_are_refused_in_one_line():
    with pytest.raises(RequestError, match="2 processes need one GPU each, but there are 1: torchrun --nproc-per-node 1"):
        device("cuda").take(1, 2, graphs=False, say=print)
