"""The program: the results of its calls together, and the report of the first non-finite value."""

import dataclasses
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

from models.tensors import Kind
from registry import ContractError, Direction, RequestError, discover
from registry.devices import device
from registry.paths import ROOT
from tests.trainer.tiny import TINY, B, T, batch, break_call, build
from trainer.program.program import Program
from trainer.program.template import StepTemplate
from trainer.selection.pick_faster_set import step_seconds


@pytest.fixture
def random():
    """Return a seeded generator."""
    return np.random.default_rng(5)


def test_parameters_are_llm_c_s_sixteen_tensors():
    shapes = TINY.parameter_shapes
    assert list(shapes) == [tensor.name for tensor in TINY.tensors]
    assert len(shapes) == 16
    assert shapes["qkvw"] == (2, 144, 48)


def test_gpt2_124m_has_as_many_parameters_as_llm_c_counts():
    import models

    assert models.find("gpt2-124m").parameter_count == 124_475_904


def test_every_forward_op_of_a_step_has_its_gradient():
    ops = {call.op for call in StepTemplate(discover(), TINY, B, T).step}
    forward = {op.name for op in ops if op.direction is Direction.FORWARD}
    backward = {op.family for op in ops if op.direction is Direction.BACKWARD}
    assert {discover().op(name).family for name in forward} == backward


def test_validation_and_training_agree_on_the_loss(random):
    program = build()
    program.load(*batch(random))
    assert program.validate() == pytest.approx(program.micro_step(accumulate=False), rel=1e-6)


def test_accumulated_micro_steps_are_one_large_step(random):
    inputs, targets = batch(random, rows=2 * B)
    large, small = build(batch=2 * B), build(micro_steps=2)
    large.load(inputs, targets)
    loss = large.micro_step(accumulate=False)
    losses = []
    for i in range(2):
        rows = slice(i * B, (i + 1) * B)
        small.load(inputs[rows], targets[rows])
        losses.append(small.micro_step(accumulate=i > 0))
    assert np.mean(losses) == pytest.approx(loss, rel=1e-6)
    for name, gradient in large.gradients.items():
        np.testing.assert_allclose(small.gradients[name], gradient, rtol=1e-4, atol=1e-7, err_msg=name)


def test_a_program_for_single_micro_steps_cannot_add_to_gradients(random):
    program = build()
    program.load(*batch(random))
    program.micro_step(accumulate=False)
    with pytest.raises(ContractError, match="planned for one micro-step per update"):
        program.micro_step(accumulate=True)


def test_gradients_of_an_earlier_step_are_forgotten(random):
    program, fresh = build(), build()
    program.load(*batch(random))
    program.micro_step(accumulate=False)
    again = batch(random)
    for each in (program, fresh):
        each.load(*again)
        each.micro_step(accumulate=False)
    for name, gradient in fresh.gradients.items():
        np.testing.assert_array_equal(program.gradients[name], gradient, err_msg=name)


def test_the_norm_is_that_of_all_gradients_together(random):
    program = build()
    program.load(*batch(random))
    program.micro_step(accumulate=False)
    expected = np.sqrt(sum(np.square(g.astype(np.float64)).sum() for g in program.gradients.values()))
    assert program.gradient_norm() == pytest.approx(expected, rel=1e-6)


def test_only_matrices_decay(random):
    program = build()
    program.load(*batch(random))
    program.micro_step(accumulate=False)
    for gradient in program.gradients.values():
        gradient[...] = 0
    before = {name: tensor.copy() for name, tensor in program.parameters.items()}
    program.apply(learning_rate=0.5, grad_scale=1.0, step=1)
    changed = {n for n, t in program.parameters.items() if not np.array_equal(t, before[n])}
    assert changed == {"wte", "wpe", "qkvw", "attprojw", "fcw", "fcprojw"}


def test_the_next_token_s_logits_are_those_of_the_training_pass(random):
    program = build()
    inputs, targets = batch(random)
    program.load(inputs, targets)
    program.validate()
    logits = program.arena.array(program.template.logits_NV).reshape(B, T, -1).copy()
    for length in (1, 7, T):
        computed = program.next_logits(list(inputs[1, :length]))
        np.testing.assert_allclose(computed, logits[1, length - 1], rtol=1e-5, atol=1e-6)


def test_only_the_last_tokens_of_a_long_text_count(random):
    program = build()
    ids = list(random.integers(0, TINY.vocabulary, 3 * T))
    long = program.next_logits(ids).copy()
    np.testing.assert_array_equal(long, program.next_logits(ids[-T:]))


@pytest.mark.parametrize(
    ("tensor", "culprit"),
    [("wpe", "adamw (wpe)"), ("fcw", "adamw (fcw)")],
)
def test_a_parameter_gone_bad_is_blamed_on_the_update(random, tensor, culprit):
    program = build()
    program.load(*batch(random))
    program.parameters[tensor].flat[3] = np.nan
    assert program.first_fault().startswith(culprit)


def test_the_first_call_that_overflows_is_named(random):
    program = build()
    program.load(*batch(random))
    program.parameters["qkvw"][1] = random.choice((-3e38, 3e38), (3 * TINY.channels, TINY.channels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the references warn of the provoked overflow
        assert program.first_fault() == "matmul/qkv (layer 1)"


def test_a_backward_call_that_goes_bad_is_named(random):
    program = build()
    program.load(*batch(random))
    break_call(program, "attention_backward (layer 1)")
    assert program.first_fault() == "attention_backward (layer 1)"


def test_a_healthy_program_has_no_fault(random):
    program = build()
    program.load(*batch(random))
    assert program.first_fault() == ""


def test_a_variant_that_refuses_the_shape_is_named():
    table = discover()
    template = StepTemplate(table, TINY, B, T)
    plain = {key: table.variant(key[0], "numpy") for key in template.calls_by_key()}
    picky = table.variant("layer_norm", "numpy")
    refusing = type(picky)(
        op=picky.op,
        name="numpy_even",
        function=picky.function,
        notes=picky.notes,
        path=picky.path,
        refuses=lambda C, **_: ["C is not a multiple of 64"] if C % 64 else [],
    )  # fmt: skip (one variant)
    with pytest.raises(RequestError, match=r"layer_norm/numpy_even refuses layer_norm \(layer 0\).*C is not a multiple of 64"):
        Program(template, plain | {("layer_norm", ""): refusing}, device("cpu"), 1)


def test_dims_that_do_not_fit_the_memory_are_a_broken_contract():
    table = discover()
    op = table.op("layer_norm")
    template = StepTemplate(table, TINY, B, T)
    number = next(i for i, call in enumerate(template.forward) if call.op is op)
    template.forward[number] = dataclasses.replace(template.forward[number], dims={"N": B * T, "C": TINY.channels + 1})
    with pytest.raises(ContractError, match="layer_norm"):
        Program(template, {key: table.variant(key[0], "numpy") for key in template.calls_by_key()}, device("cpu"), 1)


def test_gradients_and_moments_are_as_large_as_the_parameters():
    plan = build().plan
    assert plan.by_kind[Kind.MOMENTS] == 2 * plan.by_kind[Kind.GRADIENTS] == 2 * plan.by_kind[Kind.PARAMETERS]


def test_timing_the_sets_changes_no_parameter_and_no_moment(random):
    template = build().template
    plain = {key: discover().variant(key[0], "numpy") for key in template.calls_by_key()}
    blas = plain | {("matmul", label): discover().variant("matmul", "numpy_blas") for op, label in plain if op == "matmul"}
    program, fresh = build(variants=plain), build()
    program.load(*batch(random))
    assert all(seconds > 0 for seconds in step_seconds(program, [plain, blas], rounds=1))
    assert program.forward[2].variant.name == "numpy_blas"
    np.testing.assert_array_equal(
        program.arena.array(program.template.state.buffers["second moments"]),
        fresh.arena.array(fresh.template.state.buffers["second moments"]),
    )
    for name, tensor in fresh.parameters.items():
        np.testing.assert_array_equal(program.parameters[name], tensor, err_msg=name)


def test_the_workspace_is_planned_for_every_set():
    table = discover()
    template = StepTemplate(table, TINY, B, T)
    plain = {key: table.variant(key[0], "numpy") for key in template.calls_by_key()}
    packed = plain | {key: table.variant("matmul", "numba_packed") for key in plain if key[0] == "matmul"}
    alone, together = template.plan(2, plain), template.plan(2, plain, packed)
    assert alone.workspace == 0
    assert together.workspace == template.plan(2, packed).workspace > 0


def test_a_program_of_one_thread_uses_one_though_numba_is_imported_later():
    script = """
        from registry import discover
        from registry.devices import device
        from tests.trainer.tiny import TINY, B, T, variant_sets
        from trainer.program.program import Program
        from trainer.program.template import StepTemplate
        template = StepTemplate(discover(), TINY, B, T)
        for chosen in variant_sets(template)[:3]:
            program = Program(template, chosen, device("cpu"), 1)
            program.initialise(0)
            program._tokens_BT[...] = program._targets_N[...] = 0
            program.micro_step(accumulate=False)
        import numba
        print(numba.get_num_threads())
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("1\n", "")
