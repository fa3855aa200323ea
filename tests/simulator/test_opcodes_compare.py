"""Comparison and selection (PTX ISA 8.0, sections 9.7.5 and 9.7.6): every operator, ordered and unordered."""

import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.formats import pack, rows, unpack, values
from tests.simulator.opcodes import DTYPES, apply
from tests.simulator.test_opcodes_integer import integers

ORDERED = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
UNSIGNED = {"lo": operator.lt, "ls": operator.le, "hi": operator.gt, "hs": operator.ge}
FLOATS = ("f32", "f64", "f16", "bf16")
BOOLEANS = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}


def float_compare(name, a, b):
    """Return the result of a comparison of floats; NaN gives false, or true for a comparison with a final u."""
    unordered = math.isnan(a) or math.isnan(b)
    if name in {"num", "nan"}:
        return unordered == (name == "nan")
    if name.endswith("u"):
        return unordered or ORDERED[name[:-1]](a, b)
    return not unordered and ORDERED[name](a, b)


@pytest.mark.parametrize("type_", ["u16", "s16", "u32", "s32", "u64", "s64"])
@given(data=st.data())
def test_integers(type_, data):
    a, b = data.draw(rows(integers(type_), integers(type_)))
    a[0] = b[0]
    inputs = {"a": np.array(a, DTYPES[type_]), "b": np.array(b, DTYPES[type_])}
    for name, holds in ORDERED.items():
        assert apply(f"setp.{name}.{type_} %d, %a, %b;", "pred", **inputs).tolist() == list(map(holds, a, b)), name


@given(rows(integers("u32"), integers("u32")))
def test_the_unsigned_names(columns):
    a, b = columns
    inputs = {"a": np.array(a, np.uint32), "b": np.array(b, np.uint32)}
    for name, holds in UNSIGNED.items():
        assert apply(f"setp.{name}.u32 %d, %a, %b;", "pred", **inputs).tolist() == list(map(holds, a, b)), name


@pytest.mark.parametrize("bits", [16, 32, 64])
@given(data=st.data())
def test_untyped_bits_are_equal_or_not(bits, data):
    a, b = data.draw(rows(*2 * [st.integers(0, 3) | st.integers(0, 2**bits - 1)]))
    for name in ("eq", "ne"):
        inputs = {"a": np.array(a, f"u{bits // 8}"), "b": np.array(b, f"u{bits // 8}")}
        assert apply(f"setp.{name}.b{bits} %d, %a, %b;", "pred", **inputs).tolist() == list(map(ORDERED[name], a, b))


@pytest.mark.parametrize("type_", FLOATS)
@given(data=st.data())
def test_floats(type_, data):
    a, b = data.draw(rows(values(type_), values(type_)))
    b[0] = a[0]
    for name in [*ORDERED, *(f"{name}u" for name in ORDERED), "num", "nan"]:
        actual = apply(f"setp.{name}.{type_} %d, %a, %b;", "pred", a=pack(a, type_), b=pack(b, type_))
        assert actual.tolist() == [float_compare(name, x, y) for x, y in zip(a, b, strict=True)], name


@given(rows(values("f32"), values("f32")))
def test_subnormals_compare_as_zeros_with_ftz(columns):
    a, b = ([0.0 if abs(v) < 2.0**-126 else v for v in column] for column in columns)
    actual = apply("setp.lt.ftz.f32 %d, %a, %b;", "pred", a=pack(columns[0], "f32"), b=pack(columns[1], "f32"))
    assert actual.tolist() == [float_compare("lt", x, y) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("boolean", BOOLEANS)
@given(columns=rows(integers("s32"), integers("s32"), st.booleans()))
def test_a_comparison_joined_with_a_predicate(boolean, columns):
    """The second destination holds the negated comparison joined with the same predicate."""
    a, b, c = columns
    inputs = {"a": np.array(a, np.int32), "b": np.array(b, np.int32), "c": np.array(c)}
    join = BOOLEANS[boolean]
    triples = list(zip(a, b, c, strict=True))
    assert apply(f"setp.lt.{boolean}.s32 %d, %a, %b, %c;", "pred", **inputs).tolist() == [join(x < y, z) for x, y, z in triples]
    assert apply(f"setp.lt.{boolean}.s32 %d, %a, %b, !%c;", "pred", **inputs).tolist() == [
        join(x < y, not z) for x, y, z in triples
    ]
    second = apply(f"{{ .reg .pred other; setp.lt.{boolean}.s32 other|%d, %a, %b, %c; }}", "pred", **inputs)
    assert second.tolist() == [join(x >= y, z) for x, y, z in triples]


@pytest.mark.parametrize("type_", ["b16", "b32", "b64", "f32", "f64", "s32"])
@given(data=st.data())
def test_selection(type_, data):
    bits = int(type_[1:])
    a, b, c = data.draw(rows(st.integers(0, 2**bits - 1), st.integers(0, 2**bits - 1), st.booleans()))
    inputs = {"a": np.array(a, f"u{bits // 8}"), "b": np.array(b, f"u{bits // 8}"), "c": np.array(c)}
    actual = apply(f"selp.{type_} %d, %a, %b, %c;", f"b{bits}", **inputs)
    assert actual.tolist() == [x if z else y for x, y, z in zip(a, b, c, strict=True)]


@given(rows(values("f32"), values("f32")))
def test_a_comparison_may_yield_a_number(columns):
    a, b = columns
    inputs = {"a": pack(a, "f32"), "b": pack(b, "f32")}
    expected = [float_compare("gt", x, y) for x, y in zip(a, b, strict=True)]
    assert apply("set.gt.u32.f32 %d, %a, %b;", "u32", **inputs).tolist() == [0xFFFFFFFF * e for e in expected]
    assert apply("set.gt.s32.f32 %d, %a, %b;", "s32", **inputs).tolist() == [-int(e) for e in expected]
    assert apply("set.gt.f32.f32 %d, %a, %b;", "f32", **inputs).tolist() == [float(e) for e in expected]


TESTS = {
    "finite": math.isfinite,
    "infinite": math.isinf,
    "number": lambda v: not math.isnan(v),
    "notanumber": math.isnan,
}


@given(rows(values("f32")))
def test_kinds_of_floats(columns):
    (a,) = columns
    for name, holds in TESTS.items():
        assert apply(f"testp.{name}.f32 %d, %a;", "pred", a=pack(a, "f32")).tolist() == list(map(holds, a)), name


@pytest.mark.parametrize(
    ("name", "type_"),
    [(f"{name}{nan}", t) for name in ("min", "max") for nan in ("", ".NaN") for t in FLOATS if t != "f64" or not nan],
)
@given(data=st.data())
def test_the_smaller_and_the_larger(name, type_, data):
    """A number wins over NaN unless .NaN asks for it; -0 is less than +0."""
    a, b = data.draw(rows(values(type_), values(type_)))
    actual = apply(f"{name}.{type_} %d, %a, %b;", type_, a=pack(a, type_), b=pack(b, type_))
    pick = min if name.startswith("min") else max
    for x, y, result in zip(a, b, unpack(actual, type_), strict=True):
        if math.isnan(x) or math.isnan(y):
            other = y if math.isnan(x) else x
            assert math.isnan(result) if name.endswith("NaN") or math.isnan(other) else result == other
        else:
            expected = pick(x, y, key=lambda v: (v, math.copysign(1, v)))
            assert (result, math.copysign(1, result)) == (expected, math.copysign(1, expected))
