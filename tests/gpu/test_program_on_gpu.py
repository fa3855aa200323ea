"""A training step with its arena on the (stand-in's) GPU gives what the same variants give in the simulator."""

import numpy as np
import pytest

from registry import discover
from registry.devices import device
from registry.models import ModelShape
from trainer.program import Outline, Program

MODEL = ModelShape("tiny", 1, 32, 2, context=8, vocabulary=29, padded_vocabulary=32)
B, T = 1, 8


def program(where):
    """Return a program of the first CUDA variant of each op that a simulator can run too."""
    table = discover()
    outline = Outline(table, MODEL, B, T, micro_steps=2)
    chosen = {}
    for (op, label), call in outline.needs().items():
        known = [v for v in table.variants[op].values() if v.device == "cuda" and v.name != "cuda_cublas"]
        chosen[op, label] = next(v for v in known if not v.refusals(call.dims, call.params))
    made = Program(outline, chosen, device(where), 1)
    made.initialise(3)
    return made


def step(made):
    """Return everything that a step shows, on the host."""
    tokens = np.random.default_rng(1).integers(0, MODEL.vocabulary, (B, T + 1)).astype(np.int32)
    made.load(tokens[:, :-1], tokens[:, 1:])
    shown = [made.micro_step(accumulate=False), made.micro_step(accumulate=True), made.gradient_norm()]
    made.apply(learning_rate=0.1, grad_scale=1.0, step=1)
    return [*shown, made.validate(), *made.host_parameters().values(), made.next_logits([1, 2, 3])]


def test_a_step_on_the_gpu_is_that_of_the_simulator(gpu):
    there = program("cuda")
    assert isinstance(there.parameters["wte"], gpu.ndarray)
    for found, expected in zip(step(there), step(program("sim")), strict=True):
        assert not isinstance(found, gpu.ndarray)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("gpu")
def test_a_parameter_gone_bad_is_found_on_the_gpu():
    made = program("cuda")
    step(made)
    assert made.first_fault() == ""
    made.parameters["fcw"].fill(np.inf)
    assert made.first_fault() == "adamw (fcw) in the step before"


@pytest.mark.usefixtures("gpu")
def test_an_array_of_the_gpu_is_never_taken_for_one_of_the_host():
    made = program("cuda")
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(made.parameters["wte"])
