"""Conversions (PTX ISA 8.0, section 9.7.8.21, cvt): between all integers and floats, rounded, saturated, clamped."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.formats import assert_same, finite, flushed, pack, rounded, rows, unpack, values
from tests.simulator.opcodes import DTYPES, apply
from tests.simulator.test_opcodes_integer import integers, limits, wrap

INTEGERS = ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64")
FLOATS = ("f16", "f32", "f64")
TO_INTEGER = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}
NARROWER = [("f32", "f64"), ("f16", "f64"), ("f16", "f32")]


def to_form(value, form, mode="rn"):
    """Return a value rounded to a format; specials and zeros stay."""
    return rounded(Fraction(value), form, mode) if value and math.isfinite(value) else value


def integral(value, mode):
    """Return a value rounded to an integer, its sign kept on zero."""
    return math.copysign(float(TO_INTEGER[mode](value)), value) if math.isfinite(value) else value


@pytest.mark.parametrize("source", INTEGERS)
@given(data=st.data())
def test_integers_are_extended_cut_and_saturated(source, data):
    (a,) = data.draw(rows(integers(source)))
    array = np.array(a, DTYPES[source])
    for target in INTEGERS:
        assert apply(f"cvt.{target}.{source} %d, %a;", target, a=array).tolist() == [wrap(x, target) for x in a]
        low, high = limits(target)
        actual = apply(f"cvt.sat.{target}.{source} %d, %a;", target, a=array)
        assert actual.tolist() == [min(high, max(low, x)) for x in a], target


@pytest.mark.parametrize("source", ["u8", "s8", "u16", "s16"])
@given(data=st.data())
def test_a_source_register_may_be_wider_than_its_type(source, data):
    (a,) = data.draw(rows(st.integers(0, 2**32 - 1)))
    actual = apply(f"cvt.s32.{source} %d, %a;", "s32", a=np.array(a, np.uint32))
    assert actual.tolist() == [wrap(x, source) for x in a]


@pytest.mark.parametrize("target", ["u8", "s8", "u16", "s16"])
def test_a_narrow_result_fills_a_wide_register(target):
    a = np.array([-1, 127, 128, 65535, 70000], np.int32)
    actual = apply(f"cvt.{target}.s32 %d, %a;", "s32", a=a)
    assert actual.tolist() == [wrap(wrap(int(x), target), "s32") for x in a]


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("mode", TO_INTEGER)
@given(data=st.data())
def test_floats_become_integers_clamped_to_their_range(mode, source, data):
    (a,) = data.draw(rows(values(source)))
    for target in INTEGERS:
        low, high = limits(target)
        expected = [
            0 if math.isnan(x) else (high if x > 0 else low) if math.isinf(x) else min(high, max(low, TO_INTEGER[mode](x)))
            for x in a
        ]
        assert apply(f"cvt.{mode}.{target}.{source} %d, %a;", target, a=pack(a, source)).tolist() == expected, target


@pytest.mark.parametrize(
    ("target", "source"), [(t, s) for t in FLOATS for s in INTEGERS if t != "f16" or s not in {"u64", "s64"}]
)
@given(data=st.data())
def test_integers_become_floats(target, source, data):
    (a,) = data.draw(rows(integers(source)))
    actual = apply(f"cvt.rn.{target}.{source} %d, %a;", target, a=np.array(a, DTYPES[source]))
    assert_same(unpack(actual, target), [rounded(Fraction(x), target) if x else 0.0 for x in a])


@pytest.mark.parametrize(("target", "source"), NARROWER)
@given(data=st.data())
def test_floats_are_narrowed(target, source, data):
    (a,) = data.draw(rows(values(source) | values(target)))
    actual = unpack(apply(f"cvt.rn.{target}.{source} %d, %a;", target, a=pack(a, source)), target)
    assert_same(actual, [to_form(x, target) for x in a])


@pytest.mark.parametrize(("source", "target"), NARROWER)
@given(data=st.data())
def test_floats_are_widened_exactly(target, source, data):
    (a,) = data.draw(rows(values(source)))
    assert_same(unpack(apply(f"cvt.{target}.{source} %d, %a;", target, a=pack(a, source)), target), a)


@pytest.mark.parametrize("form", FLOATS)
@pytest.mark.parametrize("mode", TO_INTEGER)
@given(data=st.data())
def test_floats_are_rounded_to_integral_floats(mode, form, data):
    (a,) = data.draw(rows(values(form)))
    actual = unpack(apply(f"cvt.{mode}.{form}.{form} %d, %a;", form, a=pack(a, form)), form)
    assert_same(actual, [integral(x, mode) for x in a])


@pytest.mark.parametrize("mode", ["rn", "rz"])
@given(columns=rows(values("f32") | values("bf16")))
def test_singles_become_bf16(mode, columns):
    (a,) = columns
    actual = unpack(apply(f"cvt.{mode}.bf16.f32 %d, %a;", "bf16", a=pack(a, "f32")), "bf16")
    assert_same(actual, [to_form(x, "bf16", mode) for x in a])


@given(rows(values("bf16")))
def test_bf16_becomes_single_exactly(columns):
    (a,) = columns
    assert_same(unpack(apply("cvt.f32.bf16 %d, %a;", "f32", a=pack(a, "bf16")), "f32"), a)


@pytest.mark.parametrize(("mode", "form"), [("rn", "f16"), ("rn", "bf16"), ("rz", "bf16")])
@pytest.mark.parametrize("relu", ["", ".relu"])
@given(data=st.data())
def test_two_singles_become_a_pair(relu, mode, form, data):
    """The first operand goes to the upper half."""
    a, b = data.draw(rows(values("f32"), values("f32")))
    actual = apply(f"cvt.{mode}{relu}.{form}x2.f32 %d, %a, %b;", f"{form}x2", a=pack(a, "f32"), b=pack(b, "f32"))
    for half, column in ((actual >> 16, a), (actual & 0xFFFF, b)):
        view = half.astype(np.uint16).view(np.float16 if form == "f16" else np.uint16)
        expected = [to_form(x, form, mode) for x in column]
        if relu:
            expected = [x if math.isnan(x) else max(x, 0.0) + 0.0 for x in expected]
        assert_same([x + 0.0 if relu else x for x in unpack(view, form)], expected)


@given(rows(finite("f32")))
def test_tf32_is_rounded_to_nearest_with_ties_away(columns):
    (a,) = columns
    actual = apply("cvt.rna.tf32.f32 %d, %a;", "b32", a=pack(a, "f32"))
    assert_same(actual.view(np.float32).astype(np.float64).tolist(), [to_form(x, "tf32", "rna") for x in a])


@given(rows(values("f32")))
def test_sat_clamps_to_one_and_makes_nan_zero(columns):
    (a,) = columns
    clamped = [0.0 if math.isnan(x) or x <= 0 else min(x, 1.0) for x in a]
    assert_same(unpack(apply("cvt.sat.f32.f32 %d, %a;", "f32", a=pack(a, "f32")), "f32"), clamped)
    actual = apply("cvt.rn.sat.f16.f32 %d, %a;", "f16", a=pack(a, "f32"))
    assert_same(unpack(actual, "f16"), [to_form(x, "f16") for x in clamped])


@given(rows(values("f32")))
def test_ftz_flushes_subnormal_singles(columns):
    (a,) = columns
    flat = [flushed(x) for x in a]
    assert_same(unpack(apply("cvt.ftz.f64.f32 %d, %a;", "f64", a=pack(a, "f32")), "f64"), flat)
    assert_same(
        unpack(apply("cvt.rni.ftz.f32.f32 %d, %a;", "f32", a=pack(a, "f32")), "f32"), [integral(x, "rni") for x in flat]
    )


@given(rows(values("f64")))
def test_ftz_flushes_subnormal_results(columns):
    (a,) = columns
    actual = apply("cvt.rn.ftz.f32.f64 %d, %a;", "f32", a=pack(a, "f64"))
    assert_same(unpack(actual, "f32"), [flushed(to_form(x, "f32")) for x in a])
