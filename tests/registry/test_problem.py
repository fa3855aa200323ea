"""A problem prints as one line that can be pasted back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import discover
from registry.errors import RequestError
from registry.problem import ALIGNMENTS, DISTRIBUTIONS, SPECIAL_VALUES, Problem, SpecialValue, parse_problem

OP = discover().op("layer_norm_backward")
special_values = st.builds(
    SpecialValue, st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from(sorted(SPECIAL_VALUES))
)
problems = st.builds(
    Problem,
    st.just(OP.name),
    st.fixed_dictionaries({"N": st.integers(0, 999), "C": st.integers(1, 999)}),
    st.fixed_dictionaries({"accumulate": st.booleans()}),
    alignment=st.sampled_from(ALIGNMENTS),
    distribution=st.sampled_from(DISTRIBUTIONS),
    seed=st.integers(0, 2**31),
    special_values=st.lists(special_values, max_size=4).map(tuple),
)


@given(problems)
def test_a_printed_problem_is_read_back(problem):
    assert parse_problem(OP, str(problem)) == problem


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("N=3 C=x", "write NAME=VALUE"),
        ("N=3 C", "write NAME=VALUE"),
        ("N=3", "no value for C"),
        ("N=3 C=4 famly=normal", "did you mean 'family'"),
        ("N=3 C=4 family=nomal", "did you mean 'normal'"),
        ("N=-1 C=4", "'N=-1' in a problem of .*: give a whole number from 0 up"),
        ("N=3 C=4 seed=-1", "'seed=-1' in a problem of .*: give a whole number from 0 up"),
        ("N=3 N=3 C=4", "'N' is given twice"),
        ("N=3 C=4 spikes=0@0.5:nana", "unknown special value 'nana'; did you mean 'nan'"),
    ],
)
def test_a_malformed_line_is_one_clear_error(line, message):
    with pytest.raises(RequestError, match=message):
        parse_problem(OP, line)


def test_a_stored_line_with_an_earlier_name_of_a_parameter_is_read():
    op = discover().op("adamw_master")
    assert parse_problem(op, "K=5 step=7 chance=987654321 dtype=bfloat16").params["rounding_seed"] == 987_654_321
    with pytest.raises(RequestError, match="'rounding_seed' is given twice"):
        parse_problem(op, "K=5 chance=1 rounding_seed=1")
    with pytest.raises(RequestError, match="unknown word in a problem of adamw 'chance'"):
        parse_problem(discover().op("adamw"), "K=5 chance=1")
