"""Drawn problems: inside the domain or near a tile, of odd sizes, small after shrinking, parseable from their line."""

import dataclasses
import itertools

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proof.cases.strategies import (
    MOST_ELEMENTS,
    UNINFORMATIVE,
    aims,
    basics,
    corners,
    elements,
    is_small,
    longest,
    problems,
    some_of_each_kind,
)
from registry.problem import ALIGNMENTS, DISTRIBUTIONS, parse_problem
from registry.table import discover

TABLE = discover()
OPS = list(TABLE.ops.values())


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@given(data=st.data())
def test_problem_is_in_the_domain_and_prints_as_a_line_that_reads_back(op, data):
    problem = data.draw(problems(op))
    assert all(problem.dims[n] in allowed for n, allowed in op.domain.items())
    assert elements(op, problem) <= MOST_ELEMENTS
    assert parse_problem(op, str(problem)) == problem


@given(low=st.integers(0, 3), length=st.integers(1, 500), tile=st.integers(1, 300))
def test_aims_hold_the_tile_and_its_neighbours(low, length, tile):
    allowed = range(low, low + length)
    values = aims(allowed, (tile,))
    assert {t for t in (tile - 1, tile, tile + 1, 2 * tile) if t >= low} <= set(values)
    assert values == sorted(values)
    assert values[0] >= low


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_basics_hold_every_family_parameter_value_and_a_nan_in_every_float(op):
    drawn = list(basics(op))
    assert {p.distribution for p in drawn} == set(DISTRIBUTIONS)
    assert {p.alignment for p in drawn} == set(ALIGNMENTS)
    for name, values in op.params.items():
        assert isinstance(values, str) or {p.params[name] for p in drawn} == set(values)
    floats = sum(1 for a in op.arguments if a.role.value != "output" and a.name not in op.integers)
    assert sum(1 for p in drawn if any(s.value == "nan" for s in p.special_values)) == floats


def test_failure_shrinks_to_small_dims():
    op = TABLE.op("layer_norm")
    problem = hypothesis.find(problems(op), lambda p: p.dims["C"] > 20 and p.dims["N"] > 2)
    assert problem.dims["N"] == 3
    assert problem.dims["C"] in range(21, 32)
    assert (problem.distribution, problem.alignment, problem.seed, problem.special_values) == (
        DISTRIBUTIONS[0],
        ALIGNMENTS[0],
        0,
        (),
    )


def test_corners_stand_just_past_each_tile_and_past_two_of_them():
    table = discover()
    variant = table.variant("layer_norm", "cuda_vector")
    tile = variant.tiles["C"][0]
    drawn = list(corners(variant.op, variant))
    assert {tile + 1, 2 * tile} <= {p.dims["C"] for p in drawn}
    assert {0, 1} <= {p.dims["N"] for p in drawn}
    assert all(elements(variant.op, p) <= MOST_ELEMENTS for p in drawn)


@pytest.mark.parametrize("op", [op for op in TABLE.ops.values() if len(op.dtypes) > 1], ids=lambda op: op.name)
def test_the_basic_problems_are_the_same_in_every_dtype(op):
    drawn = list(basics(op, op.dtypes))
    by_dtype = [[dataclasses.replace(p, dtype="") for p in drawn if p.dtype == dtype] for dtype in op.dtypes]
    assert by_dtype[0] == by_dtype[1]
    assert {p.distribution for p in by_dtype[0]} == set(DISTRIBUTIONS)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_the_most_expensive_checks_see_every_dtype_in_every_layout_with_every_parameter_value_and_with_specials(op):
    drawn = list(basics(op, op.dtypes))
    few = [drawn[number] for number in some_of_each_kind(op, drawn)]
    for name, allowed in {None: (None,), **{n: v for n, v in op.params.items() if not isinstance(v, str)}}.items():
        seen = {(p.dtype, p.alignment, p.params.get(name)) for p in few}
        assert seen == set(itertools.product(op.dtypes, ALIGNMENTS, allowed))
    assert {(p.dtype, bool(p.special_values)) for p in few} == set(itertools.product(op.dtypes, (False, True)))
    assert all(p.distribution not in UNINFORMATIVE for p in few)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_the_longest_corners_are_past_the_largest_tile_of_every_dim(op):
    for variant in TABLE.variants[op.name].values():
        drawn = list(corners(op, variant))
        far = [drawn[number] for number in longest(op, drawn)]
        for dtype, name in itertools.product(variant.dtypes, op.domain):
            of_dtype = [p for p in drawn if p.dtype == dtype]
            assert max(p.dims[name] for p in far if p.dtype == dtype) == max(p.dims[name] for p in of_dtype)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_problems_for_the_simulator_are_small(op):
    for variant in (v for v in TABLE.variants[op.name].values() if v.device == "cuda"):
        assert all(is_small(op, p, simulated=True) for p in corners(op, variant, simulated=True))


@pytest.mark.parametrize("op", [op for op in OPS if "bfloat16" in op.dtypes], ids=lambda op: op.name)
def test_a_corner_in_bfloat16_fills_vectors_of_four_and_not_of_eight(op):
    variant = next(v for v in TABLE.variants[op.name].values() if "bfloat16" in v.dtypes)
    drawn = [p for p in corners(op, variant) if p.dtype == "bfloat16" and p.alignment == "aligned"]
    wide = {name for name, allowed in op.domain.items() if 12 in allowed}
    assert {name for name in wide if any(p.dims[name] == 12 for p in drawn)} == wide


def test_lengths_that_fill_four_floats_and_not_eight_bfloat16_are_aimed_at():
    assert {a % 8 for a in aims(range(301), (256,))} == set(range(8)) - {6}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_one_corner_of_each_dtype_has_whole_vectors_at_addresses_that_are_none(op):
    for variant in (v for v in TABLE.variants[op.name].values() if v.device == "cuda"):
        whole = [
            p
            for p in corners(op, variant, simulated=True)
            if p.alignment == "offset" and all(p.dims[name] == 8 for name, allowed in op.domain.items() if 8 in allowed)
        ]
        assert {p.dtype for p in whole} == set(variant.dtypes)
