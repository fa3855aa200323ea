"""The shapes of arrays determine the dims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import ContractError, Role, UnknownNameError, discover
from registry.dims import evaluate, solve

OPS = list(discover().ops.values())
GIVEN = (Role.INPUT, Role.INOUT)


def shapes(op, dims, *roles):
    """Return the shapes of an op's arguments of these roles."""
    return {a.name: a.shape(dims) for a in op.with_role(*roles)}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@given(data=st.data())
def test_the_shapes_of_the_inputs_determine_every_dim(op, data):
    dims = {name: data.draw(st.integers(max(r.start, 1), r.stop - 1), label=name) for name, r in op.domain.items()}
    known = op.bound_params(dims)
    if op.family == "embedding":
        known = {"V": dims["V"]}  # the shape of wte includes the padding: the caller gives the number of rows in use
    assert op.solve(shapes(op, dims, *GIVEN), known) == dims
    assert op.solve(shapes(op, dims, *Role), known) == dims


def test_packed_heads_need_the_number_of_heads():
    op = discover().op("attention")
    with pytest.raises(ContractError, match=r"attention: the given shapes do not determine D, H of dimension '3\*H\*D'"):
        op.solve({"qkv": (4, 64, 2304)})
    assert op.solve({"qkv": (4, 64, 2304)}, {"num_heads": 12}) == {"B": 4, "T": 64, "H": 12, "D": 64}


@pytest.mark.parametrize(
    ("given_shapes", "message"),
    [
        ({"x": (3, 4), "weight": (5, 6), "bias": (5,)}, "dimension 'C' is 4 with .*, but an array has 6 there"),
        ({"x": (3, 4, 5), "weight": (5, 5), "bias": (5,)}, r"argument 'x' is 'N C', but its shape is \(3, 4, 5\)"),
        ({"x": (3, 4), "bias": (5,), "weights": (5, 4)}, "did you mean 'weight'"),
        ({"weight": (5, 4)}, "do not determine N"),
    ],
)
def test_shapes_that_do_not_fit_are_named(given_shapes, message):
    with pytest.raises((ContractError, UnknownNameError), match=message):
        discover().op("matmul").solve(given_shapes)


def test_an_expression_that_cannot_be_solved_is_refused():
    with pytest.raises(ContractError, match="is not linear in 'C'"):
        solve([("C*C", 9)])
    with pytest.raises(ContractError, match="'D' is no whole number"):
        solve([("3*D", 10)])
    with pytest.raises(ContractError, match="'D' is no whole number"):
        solve([("D+4", 3)])


@given(st.permutations(["A", "A+B", "2*A*C", "C+D+1"]), st.tuples(*[st.integers(1, 50)] * 4))
def test_the_order_of_the_equations_does_not_matter(expressions, values):
    dims = dict(zip("ABCD", values, strict=True))
    assert solve([(e, evaluate(e, dims)) for e in expressions]) == dims


def test_sizes_may_be_numpy_integers():
    assert solve([("N", np.int64(3))]) == {"N": 3}
