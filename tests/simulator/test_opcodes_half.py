"""Half precision (PTX ISA 8.0, section 9.7.4): f16, bf16 and their pairs, against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator import formats
from tests.simulator.formats import assert_same, pack, rows, unpack, values
from tests.simulator.opcodes import apply

FORMS = ("f16", "bf16")
BINARY = {
    "add": formats.add,
    "sub": lambda a, b, form: formats.add(a, -b, form),
    "mul": formats.multiply,
}


def run(code, form, *operands):
    """Return the values an instruction yields for columns of values of its own format."""
    inputs = {name: pack(column, form) for name, column in zip("abc", operands, strict=False)}
    return unpack(apply(code, form, **inputs), form)


def run_pairs(code, form, *operands):
    """Return the same for a packed instruction: both halves hold a column, the upper ones in reverse order."""
    inputs = {}
    for name, column in zip("abc", operands, strict=False):
        low, high = (pack(half, form).view(np.uint16).astype(np.uint32) for half in (column, column[::-1]))
        inputs[name] = high << 16 | low
    actual = apply(code, f"{form}x2", **inputs)
    view = np.float16 if form == "f16" else np.uint16
    low, high = (half.astype(np.uint16).view(view) for half in (actual & 0xFFFF, actual >> 16))
    return unpack(low, form), unpack(high, form)[::-1]


def check(opcode, form, operands, expected):
    """Compare an instruction and its packed twin with the values they should yield."""
    arguments = ", ".join(f"%{name}" for name, _ in zip("abc", operands, strict=False))
    expected = list(expected)
    assert_same(run(f"{opcode}.{form} %d, {arguments};", form, *operands), expected)
    low, high = run_pairs(f"{opcode}.{form}x2 %d, {arguments};", form, *operands)
    assert_same(low, expected)
    assert_same(high, expected)


def to_bf16(value, sign):
    """Return the nearest bf16 of that sign."""
    return sign * formats.rounded(Fraction(value), "bf16")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_sums_and_products(name, form, data):
    a, b = data.draw(rows(values(form), values(form)))
    check(f"{name}.rn", form, (a, b), [BINARY[name](x, y, form) for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_a_fused_product_and_sum_is_rounded_once(form, data):
    columns = data.draw(rows(values(form), values(form), values(form)))
    expected = [formats.multiply_add(*row, form) for row in zip(*columns, strict=True)]
    check("fma.rn", form, columns, expected)
    relu = [0.0 if value < 0 else value for value in expected]
    actual = run(f"fma.rn.relu.{form} %d, %a, %b, %c;", form, *columns)
    assert [x + 0.0 for x in actual if not math.isnan(x)] == [x + 0.0 for x in relu if not math.isnan(x)]


def test_a_fused_product_is_not_rounded_on_the_way():
    """1.0009765625 squared is 1.00195407867431640625: rounding it before the sum would lose the last bit."""
    a, c = 1 + 2.0**-10, -(1 + 2.0**-9)
    assert run("fma.rn.f16 %d, %a, %a, %b;", "f16", [a], [c]) == [2.0**-20]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_distant_addend_decides_a_tie(sign):
    """1.5 times 2**-70 + 2**-76 is midway between two bf16; an addend 60 binary places below says which is nearer."""
    a, b = sign * 1.5, 2.0**-70 * (1 + 2.0**-6 + 2.0**-7)
    exact = 1.5 * b
    above, below = (to_bf16(exact * (1 + tilt), sign) for tilt in (2.0**-12, -(2.0**-12)))
    assert above != below
    assert run("fma.rn.bf16 %d, %a, %b, %c;", "bf16", [a, a], [b, b], [sign * 2.0**-126, -sign * 2.0**-126]) == [above, below]


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_signs(form, data):
    (a,) = data.draw(rows(values(form).filter(lambda v: not math.isnan(v))))
    check("neg", form, (a,), [-x for x in a])
    check("abs", form, (a,), [abs(x) for x in a])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["min", "max"])
@given(data=st.data())
def test_the_smaller_and_the_larger(name, form, data):
    a, b = data.draw(rows(formats.finite(form), formats.finite(form)))
    pick = min if name == "min" else max
    expected = [pick(x, y, key=lambda v: (v, math.copysign(1, v))) for x, y in zip(a, b, strict=True)]
    check(name, form, (a, b), expected)


@given(rows(values("f16"), values("f16")))
def test_sat_clamps(columns):
    a, b = columns
    sums = [formats.add(x, y, "f16") for x, y in zip(a, b, strict=True)]
    expected = [0.0 if math.isnan(v) or v <= 0 else min(v, 1.0) for v in sums]
    assert_same(run("add.sat.f16 %d, %a, %b;", "f16", a, b), expected)


@pytest.mark.parametrize(("form", "bound"), [("f16", 2.0**-9.9), ("bf16", 2.0**-7)])
@given(data=st.data())
def test_powers_of_two_and_hyperbolic_tangents(form, bound, data):
    (a,) = data.draw(rows(st.floats(-14, 15, width=16).map(lambda v: unpack(pack([v], form), form)[0])))
    ex2 = {"f16": "ex2.approx.f16", "bf16": "ex2.approx.ftz.bf16"}[form]
    for actual, value in zip(run(f"{ex2} %d, %a;", form, a), a, strict=True):
        assert abs(actual - 2.0**value) <= bound * 2.0**value
    for actual, value in zip(run(f"tanh.approx.{form} %d, %a;", form, a), a, strict=True):
        assert abs(actual - math.tanh(value)) <= 2 * bound
