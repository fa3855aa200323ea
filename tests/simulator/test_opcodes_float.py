"""Floating point that is rounded correctly (PTX ISA 8.0, sections 9.7.3 and 9.7.4), against exact fractions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator import formats
from tests.simulator.formats import assert_same, flushed, pack, rows, unpack, values
from tests.simulator.opcodes import apply

WIDE = ("f32", "f64")
BINARY = {
    "add": formats.add,
    "sub": lambda a, b, form: formats.add(a, -b, form),
    "mul": formats.multiply,
}


def run(code, form, *operands):
    """Return the values an instruction yields for columns of values of its own format."""
    inputs = {name: pack(column, form) for name, column in zip("abc", operands, strict=False)}
    return unpack(apply(code, form, **inputs), form)


@pytest.mark.parametrize("form", WIDE)
@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_sums_and_products(name, form, data):
    a, b = data.draw(rows(values(form), values(form)))
    expected = [BINARY[name](x, y, form) for x, y in zip(a, b, strict=True)]
    assert_same(run(f"{name}.rn.{form} %d, %a, %b;", form, a, b), expected)
    assert_same(run(f"{name}.{form} %d, %a, %b;", form, a, b), expected)


@pytest.mark.parametrize("form", WIDE)
@given(data=st.data())
def test_a_fused_product_and_sum_is_rounded_once(form, data):
    a, b, c = data.draw(rows(values(form), values(form), values(form)))
    expected = [formats.multiply_add(x, y, z, form) for x, y, z in zip(a, b, c, strict=True)]
    assert_same(run(f"fma.rn.{form} %d, %a, %b, %c;", form, a, b, c), expected)
    assert_same(run(f"mad.rn.{form} %d, %a, %b, %c;", form, a, b, c), expected)


@pytest.mark.parametrize("form", WIDE)
@given(data=st.data())
def test_quotients_reciprocals_and_roots(form, data):
    a, b = data.draw(rows(values(form), values(form)))
    quotients = [formats.divide(x, y, form) for x, y in zip(a, b, strict=True)]
    assert_same(run(f"div.rn.{form} %d, %a, %b;", form, a, b), quotients)
    assert_same(run(f"rcp.rn.{form} %d, %a;", form, a), [formats.divide(1.0, x, form) for x in a])
    assert_same(run(f"sqrt.rn.{form} %d, %a;", form, a), [formats.square_root(x, form) for x in a])


def test_ties_go_to_even():
    step = 2.0**-23
    actual = run("add.f32 %d, %a, %b;", "f32", [1.0, 1.0 + step, 1.0], [step / 2, step / 2, step * 0.75])
    assert actual == [1.0, 1.0 + 2 * step, 1.0 + step]


@pytest.mark.parametrize("name", BINARY)
@given(columns=rows(values("f32"), values("f32")))
def test_ftz_flushes_operands_and_results(name, columns):
    a, b = columns
    expected = [flushed(BINARY[name](flushed(x), flushed(y), "f32")) for x, y in zip(a, b, strict=True)]
    assert_same(run(f"{name}.ftz.f32 %d, %a, %b;", "f32", a, b), expected)


@given(rows(values("f32"), values("f32"), values("f32")))
def test_ftz_of_fused_products(columns):
    expected = [flushed(formats.multiply_add(*map(flushed, row), "f32")) for row in zip(*columns, strict=True)]
    assert_same(run("fma.rn.ftz.f32 %d, %a, %b, %c;", "f32", *columns), expected)


def saturated(value):
    """Return the value clamped to [0, 1], NaN as 0 (.sat)."""
    return 0.0 if math.isnan(value) or value <= 0 else min(value, 1.0)


@pytest.mark.parametrize("name", BINARY)
@given(columns=rows(values("f32"), values("f32")))
def test_sat_clamps_to_one_and_makes_nan_zero(name, columns):
    a, b = columns
    expected = [saturated(BINARY[name](x, y, "f32")) for x, y in zip(a, b, strict=True)]
    assert_same(run(f"{name}.sat.f32 %d, %a, %b;", "f32", a, b), expected)
    fused = [saturated(formats.multiply_add(x, y, x, "f32")) for x, y in zip(a, b, strict=True)]
    assert_same(run("fma.rn.sat.f32 %d, %a, %b, %a;", "f32", a, b), fused)


@pytest.mark.parametrize("form", WIDE)
@given(data=st.data())
def test_signs(form, data):
    a, b = data.draw(rows(values(form), values(form)))
    assert_same(run(f"neg.{form} %d, %a;", form, a), [-x for x in a])
    assert_same(run(f"abs.{form} %d, %a;", form, a), [abs(x) for x in a])
    numbers = [(x, y) for x, y in zip(a, b, strict=True) if not math.isnan(y)] or [(1.0, -1.0)]
    a, b = map(list, zip(*numbers, strict=True))
    assert_same(run(f"copysign.{form} %d, %b, %a;", form, a, b), [math.copysign(x, y) for x, y in numbers])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("add.f32 %d, %a, 0f3F800000;", [3.0, -1.0]),
        ("mul.f32 %d, %a, 0.5;", [1.0, -1.0]),
        ("fma.rn.f32 %d, %a, 0f40000000, -1.5;", [2.5, -5.5]),
    ],
)
def test_literals_are_operands(code, expected):
    assert run(code, "f32", [2.0, -2.0]) == expected


def test_double_literals_are_operands():
    actual = apply("add.f64 %d, %a, 0d3FF0000000000000;", "f64", a=np.array([0.5, -1.0]))
    assert actual.tolist() == [1.5, 0.0]
