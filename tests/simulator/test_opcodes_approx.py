"""Approximate functions (PTX ISA 8.0, section 9.7.3): the error bounds the ISA states, and its tables of special values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.formats import flushed, pack, rows, unpack
from tests.simulator.opcodes import apply

INF, NAN = math.inf, math.nan
ULP = 2.0**-23
positive = st.floats(2.0**-126, 2.0**120, width=32)
ordinary = st.floats(-(2.0**60), 2.0**60, width=32).filter(lambda v: v == 0 or abs(v) > 2.0**-60)


def run(code, a, b=None):
    """Return the values an instruction yields for single-precision columns."""
    inputs = {"a": pack(a, "f32")} | ({} if b is None else {"b": pack(b, "f32")})
    return unpack(apply(code, "f32", **inputs), "f32")


def assert_close(actual, expected, relative=0.0, absolute=0.0):
    """Compare within the larger of two bounds."""
    for one, two in zip(actual, expected, strict=True):
        assert abs(one - two) <= max(relative * abs(two), absolute), (one, two)


@given(rows(positive))
def test_reciprocals_and_roots(columns):
    (a,) = columns
    assert_close(run("rcp.approx.f32 %d, %a;", a), [1 / x for x in a], ULP, 2.0**-149)
    assert_close(run("sqrt.approx.f32 %d, %a;", a), [math.sqrt(x) for x in a], 2 * ULP)
    assert_close(run("rsqrt.approx.f32 %d, %a;", a), [1 / math.sqrt(x) for x in a], 2 * ULP)


@given(rows(ordinary, st.floats(2.0**-60, 2.0**60, width=32)))
def test_quotients(columns):
    a, b = columns
    quotients = [x / y for x, y in zip(a, b, strict=True)]
    assert_close(run("div.approx.f32 %d, %a, %b;", a, b), quotients, 2 * ULP, 2.0**-149)
    assert_close(run("div.full.f32 %d, %a, %b;", a, b), quotients, 2 * ULP, 2.0**-149)


@given(rows(st.floats(-140, 127, width=32)))
def test_powers_of_two(columns):
    (a,) = columns
    assert_close(run("ex2.approx.f32 %d, %a;", a), [2.0**x for x in a], 2 * ULP, 2.0**-148)
    assert_close(run("ex2.approx.ftz.f32 %d, %a;", a), [flushed(2.0 ** flushed(x)) for x in a], 2 * ULP, 2.0**-126)


@given(rows(positive))
def test_logarithms(columns):
    (a,) = columns
    assert_close(run("lg2.approx.f32 %d, %a;", a), [math.log2(x) for x in a], 2.0**-22, 2.0**-22)


@given(rows(st.floats(-3.140625, 3.140625, width=32)))
def test_sines_and_cosines(columns):
    (a,) = columns
    assert_close(run("sin.approx.f32 %d, %a;", a), list(map(math.sin, a)), 0, 2.0**-20.9)
    assert_close(run("cos.approx.f32 %d, %a;", a), list(map(math.cos, a)), 0, 2.0**-20.9)


@given(rows(ordinary))
def test_the_hyperbolic_tangent(columns):
    (a,) = columns
    assert_close(run("tanh.approx.f32 %d, %a;", a), list(map(math.tanh, a)), 2.0**-10.9)


SPECIALS = {
    "rcp.approx.f32": [(-INF, -0.0), (-0.0, -INF), (0.0, INF), (INF, 0.0), (NAN, NAN)],
    "sqrt.approx.f32": [(-INF, NAN), (-1.0, NAN), (-0.0, -0.0), (0.0, 0.0), (INF, INF), (NAN, NAN)],
    "rsqrt.approx.f32": [(-INF, NAN), (-1.0, NAN), (-0.0, -INF), (0.0, INF), (INF, 0.0), (NAN, NAN)],
    "ex2.approx.f32": [(-INF, 0.0), (-0.0, 1.0), (0.0, 1.0), (INF, INF), (NAN, NAN), (200.0, INF), (-200.0, 0.0)],
    "ex2.approx.ftz.f32": [(-130.0, 0.0), (2.0**-140, 1.0), (1.0, 2.0)],
    "lg2.approx.f32": [
        (-INF, NAN),
        (-1.0, NAN),
        (-0.0, -INF),
        (0.0, -INF),
        (1.0, 0.0),
        (INF, INF),
        (NAN, NAN),
        (2.0**-130, -130.0),
    ],
    "lg2.approx.ftz.f32": [(2.0**-130, -INF), (-(2.0**-130), -INF)],
    "sin.approx.f32": [(-INF, NAN), (-0.0, -0.0), (0.0, 0.0), (INF, NAN), (NAN, NAN)],
    "cos.approx.f32": [(-INF, NAN), (-0.0, 1.0), (0.0, 1.0), (INF, NAN), (NAN, NAN)],
    "tanh.approx.f32": [(-INF, -1.0), (-0.0, -0.0), (0.0, 0.0), (INF, 1.0), (NAN, NAN)],
    "rcp.approx.ftz.f32": [(2.0**-130, INF), (-(2.0**-130), -INF), (2.0**127, 0.0)],
}


@pytest.mark.parametrize("opcode", SPECIALS)
def test_special_values(opcode):
    a, expected = zip(*SPECIALS[opcode], strict=True)
    actual = run(f"{opcode} %d, %a;", a)
    wrong = [
        (x, y, z)
        for x, y, z in zip(a, actual, expected, strict=True)
        if not (math.isnan(y) and math.isnan(z)) and (y != z or math.copysign(1, y) != math.copysign(1, z))
    ]
    assert wrong == []


def test_division_by_zero_and_infinity():
    a, b = [1.0, -1.0, 0.0, INF, 1.0], [0.0, 0.0, 0.0, INF, INF]
    actual = run("div.full.f32 %d, %a, %b;", a, b)
    assert actual[:2] == [INF, -INF]
    assert all(map(math.isnan, actual[2:4]))
    assert actual[4] == 0.0


@given(rows(st.floats(2.0**-500, 2.0**500)))
def test_doubles(columns):
    (a,) = columns
    actual = apply("rsqrt.approx.f64 %d, %a;", "f64", a=np.array(a))
    assert np.allclose(actual, 1 / np.sqrt(a), rtol=2.0**-20, atol=0)
    actual = apply("rcp.approx.ftz.f64 %d, %a;", "f64", a=np.array(a))
    assert np.allclose(actual, 1 / np.array(a), rtol=2.0**-20, atol=0)
