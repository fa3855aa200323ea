"""Training in bfloat16: parameters, gradients and activations take two bytes, and master weights stay float32."""

import dataclasses
import itertools

import numpy as np
import pytest

from models.step import record_step
from models.tensors import Kind
from registry import discover
from registry.dtypes import BFLOAT16
from tests.trainer.tiny import TINY, batch, build
from trainer import run
from trainer.program.template import StepTemplate

STEPS, LEARNING_RATE = 5, 3e-3


def cuda_set(template, better):
    """Return a CUDA variant in bfloat16 for every call: the naive variant or, with `better`, the last one."""
    table, chosen = discover(), {}
    for key, call in template.calls_by_key().items():
        known = [v for v in table.variants[key[0]].values() if v.device == "cuda"]
        able = [v for v in known if not v.refusals(call.dims, call.params, "bfloat16")]
        chosen[key] = next(v for v in able if v.name == "cuda_naive") if not better else able[-1]
    return chosen


def losses(program, steps=STEPS):
    """Return the losses of `steps` training steps, each on a new batch."""
    random, values = np.random.default_rng(2), []
    for step in range(1, steps + 1):
        program.load(*batch(random))
        values.append(program.micro_step(accumulate=False))
        program.apply(learning_rate=LEARNING_RATE, grad_scale=1.0, step=step)
    return values


def test_losses_stay_near_those_in_float32():
    np.testing.assert_allclose(losses(build(dtype="bfloat16")), losses(build()), rtol=5e-3)


@pytest.mark.parametrize("better", [False, True], ids=["naive", "better"])
def test_cuda_variants_train_in_the_simulator_like_the_references_on_the_cpu(better):
    template = StepTemplate(discover(), TINY, 3, 16, dtype="bfloat16")
    programs = build(variants=cuda_set(template, better), dtype="bfloat16", on="sim"), build(dtype="bfloat16")
    np.testing.assert_allclose(*(losses(program, 3) for program in programs), rtol=1e-3)
    on_gpu, on_cpu = (program.all_gradients.astype(np.float64) for program in programs)
    assert np.linalg.norm(on_gpu - on_cpu) < 0.02 * np.linalg.norm(on_cpu)


def test_each_parameter_is_its_master_weight_rounded_up_or_down():
    program = build(dtype="bfloat16")
    losses(program, 2)
    for name, stored in program.parameters.items():
        master = program.master[name]
        assert (stored.dtype, master.dtype) == (BFLOAT16, np.float32)
        below = (master.view(np.uint32) & 0xFFFF0000).view(np.float32)
        above = ((master.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32)
        exact = below == master
        rounded = stored.astype(np.float32)
        assert (np.where(exact, rounded == master, (rounded == below) | (rounded == above))).all(), name
    assert (program.parameters["wte"].astype(np.float32) != program.master["wte"]).any()


def test_the_same_seed_gives_the_same_bits_again():
    one, other = (build(dtype="bfloat16") for _ in range(2))
    assert losses(one, 2) == losses(other, 2)
    for name, stored in one.parameters.items():
        np.testing.assert_array_equal(stored.view(np.uint16), other.parameters[name].view(np.uint16))


def test_each_tensor_and_step_has_its_own_rounding_seed():
    program, seeds = build(dtype="bfloat16"), []

    def record(*_, rounding_seed, **__):
        seeds.append(rounding_seed)

    for number, call in enumerate(program.update):
        program.update[number] = dataclasses.replace(call, variant=dataclasses.replace(call.variant, function=record))
    for step in (1, 2):
        program.apply(learning_rate=LEARNING_RATE, grad_scale=1.0, step=step)
    assert len(set(seeds)) == len(seeds) == 2 * len(program.parameters)


def test_half_the_bytes_are_planned_and_the_master_weights_are_named():
    whole, half = (StepTemplate(discover(), TINY, 3, 16, dtype=dtype) for dtype in ("float32", "bfloat16"))
    plans = [o.plan(1, {key: discover().variant(key[0], "numpy") for key in o.calls_by_key()}) for o in (whole, half)]
    for kind in (Kind.PARAMETERS, Kind.GRADIENTS):
        assert plans[1].by_kind[kind] == pytest.approx(plans[0].by_kind[kind] / 2, abs=64)
    assert plans[1].activations < 0.55 * plans[0].activations
    assert "master weights" in dict(plans[1].rows())
    assert "master weights" not in dict(plans[0].rows())


def test_statistics_losses_and_moments_stay_float32():
    step = record_step(TINY, discover().ops, 3, 16, "bfloat16")
    state = step.state
    views = itertools.chain(*(call.arrays.values() for call in [*step.forward, *step.backward]))
    kept = {view.buffer.name for view in views if view.buffer.dtype == "float32"}
    assert {name.split()[-1] for name in kept} == {"mean", "rstd", "lse", "losses"}
    assert {state.buffers[n].dtype for n in ("first moments", "second moments", "master weights")} == {"float32"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--dtype=bfloat61"], "error: unknown dtype 'bfloat61'; did you mean 'bfloat16'?"),
        (["--dtype=bfloat16"], "no CPU variant takes it; train with --device sim or cuda, or with --kernels numpy"),
        (
            ["--dtype=bfloat16", "--kernels=numpy,matmul=numpy_blas"],
            "error: --kernels: matmul/numpy_blas takes float32, not --dtype bfloat16",
        ),
    ],
)
def test_a_dtype_that_cannot_be_trained_in_is_one_clear_line(words, line, capsys):
    assert run.main(["--model=gpt2-nano", "--plan", *words]) == 2
    printed = capsys.readouterr().err
    assert line in printed
    assert printed.count("\n") == 1
