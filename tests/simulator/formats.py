"""Binary floating point, exactly: rounding of fractions to any format, and arrays of each format.

Values are Python floats, which hold every value of every format here exactly.
"""

import math
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

SHAPE = {"f16": (10, 5), "bf16": (7, 8), "tf32": (10, 8), "f32": (23, 8), "f64": (52, 11)}
"""Bits of mantissa and of exponent."""

BYTES = {"f16": 2, "bf16": 2, "tf32": 4, "f32": 4, "f64": 8}


def largest(form):
    """Return the largest finite value."""
    mantissa, exponent = SHAPE[form]
    return (2 - 2.0**-mantissa) * 2.0 ** (2 ** (exponent - 1) - 1)


def smallest_normal(form):
    """Return the smallest value that is not subnormal."""
    return 2.0 ** (2 - 2 ** (SHAPE[form][1] - 1))


def rounded(value, form, mode="rn"):
    """Return a nonzero fraction rounded to a format: rn (ties to even), rna (ties away) or rz."""
    mantissa, width = SHAPE[form]
    magnitude, negative = abs(value), value < 0
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= magnitude < Fraction(2) ** exponent
    quantum = Fraction(2) ** (max(exponent, 2 - 2 ** (width - 1)) - mantissa)
    count, rest = divmod(magnitude, quantum)
    half = quantum / 2
    up = {
        "rn": rest > half or (rest == half and count % 2 == 1),
        "rna": rest >= half,
        "rz": False,
    }[mode]
    exact = (count + up) * quantum
    if exact > Fraction(largest(form)):
        exact = largest(form) if mode == "rz" else math.inf
    return math.copysign(float(exact), -1 if negative else 1)


def multiply_add(a, b, c, form):
    """Return a * b + c, rounded once; specials and the signs of zeros follow IEEE 754."""
    if not all(map(math.isfinite, (a, b, c))):
        return c if math.isfinite(a) and math.isfinite(b) else a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact:
        return rounded(exact, form)
    sign = math.copysign(1, a) * math.copysign(1, b)
    if c == 0 and sign == math.copysign(1, c):
        return math.copysign(0.0, sign)
    return 0.0


def add(a, b, form):
    """Return a + b, rounded."""
    return multiply_add(a, 1.0, b, form)


def multiply(a, b, form):
    """Return a * b, rounded."""
    if not (math.isfinite(a) and math.isfinite(b)) or not a or not b:
        return a * b
    return rounded(Fraction(a) * Fraction(b), form)


def divide(a, b, form):
    """Return a / b, rounded."""
    if b == 0:
        return math.copysign(math.inf, a) * math.copysign(1, b) if a and not math.isnan(a) else math.nan
    if not (math.isfinite(a) and math.isfinite(b)) or not a:
        return a / b
    return rounded(Fraction(a) / Fraction(b), form)


def square_root(a, form):
    """Return the square root, rounded; that of -0 is -0."""
    if not math.isfinite(a) or a <= 0:
        return a if a in {0, math.inf} or math.isnan(a) else math.nan
    scaled = Fraction(a) * Fraction(4) ** 1200
    root = math.isqrt(scaled.numerator)
    inexact = root * root != scaled.numerator
    return rounded(Fraction(2 * root + inexact, 2) / Fraction(2) ** 1200, form)


def flushed(value, form="f32"):
    """Return the value with subnormals as zeros of their sign (.ftz)."""
    return math.copysign(0.0, value) if abs(value) < smallest_normal(form) else value


def pack(values, form):
    """Return an array of a format."""
    with np.errstate(all="ignore"):
        if form in {"bf16", "tf32"}:
            bits = np.array(values, np.float64).astype(np.float32).view(np.uint32)
            return (bits >> 16).astype(np.uint16) if form == "bf16" else bits
        return np.array(values, np.float64).astype({"f16": np.float16, "f32": np.float32, "f64": np.float64}[form])


def unpack(array, form):
    """Return the values of an array as Python floats."""
    with np.errstate(all="ignore"):
        if form == "bf16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        if form == "tf32":
            array = array.view(np.float32)
        return array.astype(np.float64).tolist()


def assert_same(actual, expected):
    """Compare floats: NaN equals NaN, zeros have signs."""
    differences = [
        (index, one, two)
        for index, (one, two) in enumerate(zip(actual, expected, strict=True))
        if not (math.isnan(one) and math.isnan(two)) and (one != two or math.copysign(1, one) != math.copysign(1, two))
    ]
    assert not differences, f"(element, actual, expected): {differences[:4]}"


def values(form):
    """Return a strategy for values of a format: specials, small numbers and any bits."""
    mantissa, _ = SHAPE[form]
    tiny = 2.0 ** (1 - mantissa) * smallest_normal(form) / 2
    specials = [0.0, 1.0, 1.5, 2.0, 3.0, 0.5, largest(form), smallest_normal(form), tiny, math.inf]
    bits = BYTES[form] * 8
    return st.one_of(
        st.sampled_from(specials + [-v for v in specials] + [math.nan]),
        st.integers(-40, 40).map(lambda n: n / 4),
        st.integers(0, 2**bits - 1).map(lambda pattern: _of_bits(pattern, form)),
    )


def finite(form):
    """Return a strategy for the finite values of a format."""
    return values(form).filter(math.isfinite)


def _of_bits(pattern, form):
    dtype = {2: np.uint16, 4: np.uint32, 8: np.uint64}[BYTES[form]]
    array = np.array([pattern], dtype)
    if form == "tf32":
        array &= np.uint32(0xFFFFE000)
    return unpack(
        array if form in {"bf16", "tf32"} else array.view({"f16": np.float16, "f32": np.float32, "f64": np.float64}[form]), form
    )[0]


def rows(*columns, most=8):
    """Return a strategy for up to `most` rows, as a tuple of columns."""
    return st.lists(st.tuples(*columns), min_size=1, max_size=most).map(
        lambda drawn: tuple(map(list, zip(*drawn, strict=True)))
    )
