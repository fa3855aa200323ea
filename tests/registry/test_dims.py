"""Dimension expressions become shapes, and the error of a wrong expression names it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.dims import evaluate, names_in, shape_of
from registry.errors import ContractError

sizes = st.integers(0, 1000)


@given(h=sizes, d=sizes, v=sizes, p=sizes)
def test_packed_and_padded_dims_have_the_value_of_their_formula(h, d, v, p):
    assert shape_of("3*H*D V+P 1", {"H": h, "D": d, "V": v, "P": p}) == (3 * h * d, v + p, 1)


def test_names_are_found_in_products_and_sums():
    assert names_in("3*H*D+P") == {"H", "D", "P"}


@pytest.mark.parametrize("expression", ["H-1", "H//2", "f(H)", "H +", "1.5"])
def test_anything_but_sums_and_products_is_refused(expression):
    with pytest.raises(ContractError, match="names"):
        evaluate(expression, {"H": 4})


def test_a_dim_without_a_value_is_named():
    with pytest.raises(ContractError, match="'H' of '3\\*H' has no value"):
        evaluate("3*H", {"D": 2})
