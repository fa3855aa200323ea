"""Integer arithmetic (PTX ISA 8.0, section 9.7.1), against Python's integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.formats import rows
from tests.simulator.opcodes import DTYPES, apply

TYPES = ("u16", "s16", "u32", "s32", "u64", "s64")
WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}


def bits_of(type_):
    """Return the width of a type."""
    return int(type_[1:])


def wrap(value, type_):
    """Return the value that a register of this type holds for an integer."""
    bits = bits_of(type_)
    value %= 2**bits
    return value - 2**bits if type_[0] == "s" and value >= 2 ** (bits - 1) else value


def limits(type_):
    """Return the smallest and the largest value."""
    bits = bits_of(type_)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if type_[0] == "s" else (0, 2**bits - 1)


def integers(type_):
    """Return a strategy for the values of a type; the ends are likely."""
    low, high = limits(type_)
    return st.one_of(st.sampled_from([low, high, 0, 1, high // 2, low + 1]), st.integers(low, high))


def check(code, type_, operands, expected, result=None):
    """Compare an instruction with the integers it should yield; `operands` are columns of values of `type_`."""
    result = result or type_
    inputs = {name: np.array(column, DTYPES[type_]) for name, column in zip("abc", operands, strict=False)}
    actual = apply(code, result, **inputs)
    assert actual.tolist() == [wrap(value, result) for value in expected]


def truncated(a, b):
    """Divide as C does."""
    quotient = abs(a) // abs(b)
    return -quotient if (a < 0) != (b < 0) else quotient


BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "min": min,
    "max": max,
}


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_two_operands(name, type_, data):
    a, b = data.draw(rows(integers(type_), integers(type_)))
    check(f"{name}.{type_} %d, %a, %b;", type_, (a, b), map(BINARY[name], a, b))


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_the_high_half_of_a_product(type_, data):
    a, b = data.draw(rows(integers(type_), integers(type_)))
    check(f"mul.hi.{type_} %d, %a, %b;", type_, (a, b), [x * y >> bits_of(type_) for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("type_", WIDER)
@given(data=st.data())
def test_the_whole_product(type_, data):
    a, b = data.draw(rows(integers(type_), integers(type_)))
    check(f"mul.wide.{type_} %d, %a, %b;", type_, (a, b), [x * y for x, y in zip(a, b, strict=True)], WIDER[type_])


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("half", ["lo", "hi"])
@given(data=st.data())
def test_multiply_and_add(half, type_, data):
    a, b, c = data.draw(rows(*3 * [integers(type_)]))
    shift = bits_of(type_) if half == "hi" else 0
    expected = [(x * y >> shift) + z for x, y, z in zip(a, b, c, strict=True)]
    check(f"mad.{half}.{type_} %d, %a, %b, %c;", type_, (a, b, c), expected)


@pytest.mark.parametrize("type_", WIDER)
@given(data=st.data())
def test_multiply_and_add_to_a_wider_sum(type_, data):
    a, b, c = data.draw(rows(integers(type_), integers(type_), integers(WIDER[type_])))
    inputs = {"a": np.array(a, DTYPES[type_]), "b": np.array(b, DTYPES[type_]), "c": np.array(c, DTYPES[WIDER[type_]])}
    actual = apply(f"mad.wide.{type_} %d, %a, %b, %c;", WIDER[type_], **inputs)
    assert actual.tolist() == [wrap(x * y + z, WIDER[type_]) for x, y, z in zip(a, b, c, strict=True)]


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_division_truncates_and_the_remainder_has_the_dividends_sign(type_, data):
    divisor = integers(type_).filter(bool)
    a, b = data.draw(rows(integers(type_), divisor))
    check(f"div.{type_} %d, %a, %b;", type_, (a, b), map(truncated, a, b))
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if y != -1] or [(7, 2)]
    a, b = zip(*pairs, strict=True)
    check(f"rem.{type_} %d, %a, %b;", type_, (a, b), [x - truncated(x, y) * y for x, y in pairs])


@pytest.mark.parametrize("type_", TYPES)
def test_division_by_zero_and_overflow_do_not_end_the_process(type_):
    low, high = limits(type_)
    a, b = np.array([high, low, 5], DTYPES[type_]), np.array([0, -1 if low else 0, 5], DTYPES[type_])
    assert apply(f"div.{type_} %d, %a, %b;", type_, a=a, b=b)[2] == 1
    assert apply(f"rem.{type_} %d, %a, %b;", type_, a=a, b=b)[2] == 0


@pytest.mark.parametrize("type_", ["s16", "s32", "s64"])
@given(data=st.data())
def test_negation_and_magnitude(type_, data):
    (a,) = data.draw(rows(integers(type_)))
    check(f"neg.{type_} %d, %a;", type_, (a,), [-x for x in a])
    check(f"abs.{type_} %d, %a;", type_, (a,), map(abs, a))


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_sum_of_absolute_differences(type_, data):
    a, b, c = data.draw(rows(*3 * [integers(type_)]))
    check(f"sad.{type_} %d, %a, %b, %c;", type_, (a, b, c), [abs(x - y) + z for x, y, z in zip(a, b, c, strict=True)])


@given(rows(integers("s32"), integers("s32")))
def test_saturating_sums_stop_at_the_ends(columns):
    a, b = columns
    low, high = limits("s32")
    for name in ("add", "sub"):
        expected = [min(high, max(low, BINARY[name](x, y))) for x, y in zip(a, b, strict=True)]
        check(f"{name}.sat.s32 %d, %a, %b;", "s32", columns, expected)


@pytest.mark.parametrize("code", ["add.s32 %d, %a, -3;", "add.s32 %d, -3, %a;", "sub.s32 %d, %a, 0x3;"])
def test_literals_are_operands(code):
    expected = np.arange(32, dtype=np.int32) - 3
    assert apply(code, "s32", a=np.arange(32, dtype=np.int32)).tolist() == expected.tolist()


@given(rows(integers("s32"), integers("s32"), st.booleans()))
def test_a_guarded_instruction_leaves_other_lanes_alone(columns):
    a, b, p = columns
    inputs = {"a": np.array(a, np.int32), "b": np.array(b, np.int32), "p0": np.array(p)}
    actual = apply("mov.b32 %d, %a; @%p0 add.s32 %d, %a, %b;", "s32", **inputs)
    assert actual.tolist() == [wrap(x + y, "s32") if q else x for x, y, q in zip(a, b, p, strict=True)]
    actual = apply("mov.b32 %d, %a; @!%p0 add.s32 %d, %a, %b;", "s32", **inputs)
    assert actual.tolist() == [x if q else wrap(x + y, "s32") for x, y, q in zip(a, b, p, strict=True)]
