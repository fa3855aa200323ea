"""Tolerances: wide enough for the rounding of a right kernel, too narrow for a wrong output; NaN never passes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.proof.cases.strategies import problems
from harness.proof.cases.values import materialise
from harness.proof.reference.oracle import run_oracle, run_reference
from harness.proof.reference.tolerance import Verdict, compute_reference, exact_outputs
from registry.dtypes import BFLOAT16
from registry.error_law import Exact, Sum
from registry.problem import Problem, SpecialValue, parse_problem
from registry.table import discover

TABLE = discover()
OPS = list(TABLE.ops.values())
SIZES = {"N": 5, "C": 70}


def referenced(op="layer_norm", **fields):
    """Return the op, values and reference outputs of a problem."""
    op = TABLE.op(op)
    params = {n: v[0] for n, v in op.params.items()}
    problem = Problem(op.name, dict(SIZES), params, **fields)
    values = materialise(op, problem)
    return op, values, compute_reference(op, problem, values)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@settings(max_examples=10)
@given(data=st.data())
def test_reference_rounded_once_is_within_tolerance(op, data):
    problem = data.draw(problems(op).filter(lambda p: sum(p.dims.values()) < 150))
    values = materialise(op, problem)
    reference = compute_reference(op, problem, values)
    with np.errstate(all="ignore"):
        right = {n: a.astype(reference.outputs[n].dtype) for n, a in run_reference(op, values, problem.params).items()}
    verdict = reference.judge(right)
    assert (verdict.message, verdict.ratio <= 1) == ("", True)


@given(output=st.sampled_from(["y", "mean", "rstd"]), where=st.integers(0, 349), wrong=st.sampled_from([np.nan, np.inf, 2.5]))
def test_one_wrong_element_anywhere_is_found_and_named(output, where, wrong):
    _, _, reference = referenced()
    got = {n: e.rounded for n, e in reference.outputs.items()}
    flat = got[output].reshape(-1)
    flat[where % flat.size] += wrong
    verdict = reference.judge(got)
    index = ", ".join(str(int(i)) for i in np.unravel_index(where % flat.size, got[output].shape))
    assert verdict.message.startswith(f"{output}[{index}] = ")
    assert "expected" in verdict.message
    assert verdict.ratio > 1


def test_tolerance_is_a_small_multiple_of_the_spacing():
    _, _, reference = referenced()
    expected = reference.outputs["y"]
    assert 0 < expected.tolerance.max() < 200 * np.finfo(np.float32).eps * np.abs(expected.value).max()


def test_tolerance_of_zero_refuses_a_single_rounding():
    _, _, reference = referenced()
    tight = dataclasses.replace(reference.outputs["y"], tolerance=np.zeros_like(reference.outputs["y"].tolerance))
    assert tight.judge("y", reference.outputs["y"].rounded).message


def test_where_torch_breaks_the_law_a_kernel_may_be_twice_as_wrong():
    """Scores near 8e6 are 0.5 apart in float32: no kernel can keep a law that is linear in such roundings."""
    op = TABLE.op("attention")
    line = "B=3 T=31 H=3 D=66 num_heads=3 dtype=float32 layout=aligned family=offset seed=1"
    problem = parse_problem(op, line)
    values = materialise(op, problem)
    expected = compute_reference(op, problem, values).outputs["y"]
    exact, torch32 = (run_oracle(op, values, problem.params, *dtype)["y"] for dtype in ((), ("float32",)))
    off = torch32.astype(np.float64) - exact
    assert expected.judge("y", torch32).ratio <= 1
    assert expected.judge("y", (exact + 0.9 * off).astype(np.float32)).ratio <= 1
    assert expected.judge("y", (exact + 20 * off).astype(np.float32)).ratio > 1


def test_law_wider_than_torch_needs_is_cut():
    op, values, reference = referenced("softmax")
    loose = dataclasses.replace(op, error=Sum(over="C", ulps=1e6, floor=op.error.floor))
    problem = Problem(op.name, dict(SIZES))
    assert compute_reference(loose, problem, values).outputs["y"].tolerance.max() <= 20 * reference.outputs["y"].tolerance.max()


def test_bfloat16_must_be_the_rounding_of_a_right_number_and_its_neighbour_is_rejected():
    _, _, reference = referenced(dtype="bfloat16", seed=3)
    expected = reference.outputs["y"]
    assert expected.dtype == BFLOAT16
    assert expected.judge("y", expected.rounded) == Verdict(0.0)
    cut = (expected.value.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32).astype(BFLOAT16)
    assert (cut != expected.rounded).any()
    assert "besides the rounding" in expected.judge("y", cut).message


def test_arithmetic_in_bfloat16_is_found_where_only_storage_in_it_is_granted():
    op, values, reference = referenced(dtype="bfloat16", seed=3)
    assert op.outputs[0] == "y"
    x, weight, bias = (values[n].astype(np.float32) for n in ("x", "weight", "bias"))
    mean, rstd = x.mean(axis=1, keepdims=True), 1 / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    honest = ((x - mean) * rstd * weight + bias).astype(BFLOAT16)
    hasty = (((x - mean) * rstd).astype(BFLOAT16) * values["weight"] + values["bias"]).astype(BFLOAT16)
    assert not reference.outputs["y"].judge("y", honest).message
    assert reference.outputs["y"].judge("y", hasty).message


def test_nan_must_come_out_where_it_goes_in_and_nowhere_else():
    _, _, reference = referenced(special_values=(SpecialValue(0, 0.5, "nan"),))
    expected = reference.outputs["y"]
    right = expected.rounded
    assert np.isnan(right[2]).all()
    assert not expected.judge("y", right).message
    cleaned, spread = np.nan_to_num(right), right.copy()
    spread[0, 0] = np.nan
    assert "expected NaN" in expected.judge("y", cleaned).message
    assert expected.judge("y", spread).message.startswith("y[0, 0] = nan")


def test_whole_number_outputs_are_found_by_trying():
    assert exact_outputs(TABLE.op("matmul")) == {"y"}
    assert exact_outputs(TABLE.op("layer_norm_backward")) == {"dbias"}
    assert exact_outputs(TABLE.op("residual_layer_norm")) == {"residual"}
    assert exact_outputs(TABLE.op("softmax")) == frozenset()


def test_exact_law_asks_for_the_same_bits():
    op, values, _ = referenced("residual", distribution="normal")
    exact = dataclasses.replace(op, error=Exact())
    expected = compute_reference(exact, Problem(op.name, dict(SIZES)), values).outputs["y"]
    right = values["x1"] + values["x2"]
    assert not expected.judge("y", right).message
    assert "must be equal" in expected.judge("y", np.nextafter(right, np.float32(np.inf))).message


def test_equal_terms_get_the_bound_that_always_holds():
    op, _, _ = referenced()
    for seed in range(10):
        problem = Problem(op.name, {"N": 1, "C": 300}, {"eps": 1e-5}, distribution="constant", seed=seed)
        values = materialise(op, problem)
        mean = np.add.accumulate(values["x"], axis=1, dtype=np.float32)[:, -1] / np.float32(300)
        assert not compute_reference(op, problem, values).outputs["mean"].judge("mean", mean).message
