"""The comparison of a call at the shape of a training run: part by part, as strict as the full judge of the battery."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.proof import at_shape
from harness.proof.at_shape import TooLargeError, compare
from harness.proof.cases.training_values import training_values
from harness.proof.reference.oracle import run_oracle
from harness.proof.reference.tolerance import compute_reference
from registry.problem import Problem
from registry.table import discover

TABLE = discover()
DIMS = {
    "adamw": {"K": 3000},
    "attention": {"B": 3, "T": 20, "H": 2, "D": 8},
    "attention_backward": {"B": 3, "T": 20, "H": 2, "D": 8},
    "cross_entropy": {"N": 40, "V": 200, "P": 8},
    "cross_entropy_backward": {"N": 40, "V": 200, "P": 8},
    "embedding_backward": {"B": 3, "T": 20, "V": 30, "P": 2, "S": 3, "C": 60},
    "gelu": {"N": 40, "C": 60},
    "global_norm": {"K": 5000},
    "layer_norm": {"N": 40, "C": 60},
    "layer_norm_backward": {"N": 40, "C": 60},
    "matmul": {"N": 20, "C": 60, "O": 300},
    "matmul_backward_weight": {"N": 60, "C": 30, "O": 200},
    "matmul_gelu": {"N": 20, "C": 60, "O": 100},
}


def drawn(name, seed=0):
    """Return the op of a name, a problem and its values."""
    op = TABLE.op(name)
    params = {n: v[-1] for n, v in op.params.items() if not isinstance(v, str)}
    problem = Problem(name, DIMS[name], {**params, **op.bound_params(DIMS[name])}, seed=seed)
    return op, problem, training_values(op, problem)


def stored(op, results):
    """Return outputs in the dtypes in which a variant stores them."""
    return {a.name: results[a.name].astype(a.numpy_dtype()) for a in op.arguments if a.name in op.outputs}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Cut these small problems into parts, as large problems are."""
    monkeypatch.setattr(at_shape, "PART_ELEMENTS", 2000)
    monkeypatch.setattr(at_shape, "FEWEST", 8)


@pytest.mark.parametrize("name", DIMS)
def test_honest_results_in_float32_pass_whole(name):
    op, problem, values = drawn(name)
    outputs = stored(op, run_oracle(op, values, problem.params, "float32"))
    result = compare(op, problem, values, outputs)
    assert result.message == ""
    assert result.ratio <= 1
    assert result.compared == result.elements == sum(a.size for a in outputs.values())
    assert str(result).startswith("all ")


@pytest.mark.parametrize("name", DIMS)
@settings(max_examples=12)
@given(where=st.floats(0, 1), seed=st.integers(0, 3), data=st.data())
def test_one_wrong_element_is_found_and_named(name, where, seed, data):
    op, problem, values = drawn(name, seed)
    outputs = stored(op, run_oracle(op, values, problem.params))
    expected = compute_reference(op, problem, values).outputs
    output = data.draw(st.sampled_from(sorted(outputs)), label="output")
    wrong = data.draw(st.sampled_from(["tolerance", "nan", "inf"]), label="wrong")
    index = np.unravel_index(int(where * (outputs[output].size - 1)), outputs[output].shape)
    assume(np.isfinite(expected[output].tolerance[index]))  # an element without a known condition is not checked
    beyond = 4 * max(float(expected[output].tolerance[index]), 1e-6 * abs(float(expected[output].value[index])))
    outputs[output][index] = {"tolerance": expected[output].value[index] + beyond, "nan": np.nan, "inf": np.inf}[wrong]
    result = compare(op, problem, values, outputs)
    assert result.message.startswith(f"{output}[{', '.join(map(str, index))}] = ")
    assert "; 1 of " in result.message
    assert result.ratio >= 1


@pytest.mark.parametrize("name", ["matmul", "layer_norm", "adamw", "global_norm"])
def test_zeros_are_wrong(name):
    op, problem, values = drawn(name)
    outputs = {n: np.zeros_like(a) for n, a in stored(op, run_oracle(op, values, problem.params)).items()}
    result = compare(op, problem, values, outputs)
    assert "elements are wrong" in result.message
    assert result.compared <= result.elements


def test_a_comparison_that_ends_early_counts_the_compared_elements():
    op, problem, values = drawn("matmul")
    outputs = stored(op, run_oracle(op, values, problem.params))
    outputs["y"][0, 0] += 1  # in the first part: later parts are not compared
    result = compare(op, problem, values, outputs)
    assert result.compared < result.elements == 6000
    assert str(result) == f"{result.compared:,} of 6,000 elements"


def test_a_reference_without_room_is_refused(monkeypatch):
    op, problem, values = drawn("layer_norm_backward")
    outputs = {n: a + 1 for n, a in stored(op, run_oracle(op, values, problem.params)).items()}
    monkeypatch.setattr(at_shape, "COPIES", 1 << 40)
    with pytest.raises(TooLargeError, match="GiB are available"):
        compare(op, problem, values, outputs)


def test_the_index_of_a_gathered_column_is_that_of_the_whole():
    op, problem, values = drawn("adamw")
    problem = dataclasses.replace(problem, seed=5)
    outputs = stored(op, run_oracle(op, values, problem.params))
    outputs["m"][2999] = 7
    assert compare(op, problem, values, outputs).message.startswith("m[2999] = 7, expected ")
