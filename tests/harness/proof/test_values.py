"""Drawn values: the same for the same seed, of the problem's distribution, and within the op's contract."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proof.cases.strategies import basics, problems
from harness.proof.cases.values import LARGEST_INTEGER, change_one, drawn_arguments, materialise
from registry.dims import evaluate
from registry.dtypes import is_float
from registry.problem import DISTRIBUTIONS, Problem, SpecialValue, parse_problem
from registry.table import discover

OPS = list(discover().ops.values())
SIZES = {"N": 8, "C": 40}


def layer_norm(**given_fields):
    """Return a problem of layer_norm, and its op."""
    op = discover().op("layer_norm")
    return op, Problem(op.name, dict(SIZES), {"eps": 1e-5}, **given_fields)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@given(data=st.data())
def test_values_keep_the_contract_and_come_again_from_the_printed_line(op, data):
    problem = data.draw(problems(op))
    values = materialise(op, problem)
    assert list(values) == [a.name for a in drawn_arguments(op)]
    for argument in drawn_arguments(op):
        array = values[argument.name]
        assert array.shape == argument.shape(problem.dims)
        assert array.dtype == argument.numpy_dtype(problem.dtype)
        assert array.flags.c_contiguous
        if argument.name in op.integers and array.size:
            assert array.min() >= 0
            assert array.max() < evaluate(op.integers[argument.name], problem.dims)
    again = materialise(op, parse_problem(op, str(problem)))
    assert all(a.tobytes() == again[n].tobytes() for n, a in values.items())


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_without_special_values_every_value_is_finite(op):
    for problem in basics(op):
        if not problem.special_values:
            finite = [np.isfinite(a).all() for a in materialise(op, problem).values() if is_float(a.dtype)]
            assert all(finite), problem


@pytest.mark.parametrize("family", DISTRIBUTIONS)
def test_some_argument_is_of_the_family(family):
    seen = {
        "normal": lambda a: 0.5 < a.std() < 1.5,
        "uniform": lambda a: np.abs(a).max() <= 1,
        "offset": lambda a: np.abs(a.mean()) > 100 * a.std(),
        "wide": lambda a: np.abs(a).max() > 1e3 * np.abs(a).min(),
        "tiny": lambda a: 0 < np.abs(a).max() < 1e-9,
        "huge": lambda a: np.abs(a).max() > 1e5,
        "zeros": lambda a: not a.any(),
        "constant": lambda a: np.ptp(a) == 0 and a.any(),
        "integers": lambda a: (a == np.round(a)).all() and np.abs(a).max() <= LARGEST_INTEGER,
    }[family]
    for seed in range(20):
        values = materialise(*layer_norm(distribution=family, seed=seed))
        assert any(seen(a) for a in values.values()), seed
        assert family != "integers" or all(seen(a) for a in values.values())


def test_zeros_come_with_both_signs():
    values = materialise(*layer_norm(distribution="zeros", seed=3))
    zeros = next(a for a in values.values() if not a.any())
    assert np.signbit(zeros).any()
    assert not np.signbit(zeros).all()


@given(where=st.floats(0, 1), number=st.integers(0, 2), value=st.sampled_from(["nan", "inf", "-inf", "-0"]))
def test_a_special_value_changes_one_element(where, number, value):
    plain, spiked = (materialise(*layer_norm(special_values=s)) for s in ((), (SpecialValue(number, where, value),)))
    changed = {n: int((a.view(np.uint32) != spiked[n].view(np.uint32)).sum()) for n, a in plain.items()}
    assert sorted(changed.values()) == [0, 0, 1]
    assert changed[list(plain)[number]] == 1


def test_saved_arguments_are_the_outputs_of_the_forward_pass():
    op = discover().op("layer_norm_backward")
    values = materialise(op, Problem(op.name, dict(SIZES), {"accumulate": False}, distribution="offset", seed=1))
    np.testing.assert_allclose(values["mean"], values["x"].astype(np.float64).mean(axis=1), rtol=1e-6)


@given(seed=st.integers(0, 1000))
def test_change_one_changes_one_argument_in_one_place(seed):
    op, problem = layer_norm(seed=seed)
    values = materialise(op, problem)
    changed = change_one(op, problem, values)
    assert sum(int((values[n] != changed[n]).sum()) for n in values) == 1
