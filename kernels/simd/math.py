"""Elementary functions of float32 scalars without branches or calls, so that LLVM vectorises the loop around them.

Every one reduces its argument to a short interval and evaluates a minimax polynomial (Remez exchange, relative error);
the errors stated are the largest over all float32 arguments, against float64, in units in the last place (ulp).
Unlike variants these functions must not be reassociated: the order of the reductions is what makes them exact.

Sources: W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980), for the reductions in two parts;
J.-M. Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed. (2018), chapter 10; S. L. Moshier's Cephes (single).
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["exp", "log", "tanh"]

_F = np.float32
_elementary = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy", nogil=True, forceinline=True)

_LOG2E = _F(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)  # the high part has 9 bits: its product with any exponent is exact
_SHIFTER = _F(12582912.0)  # 1.5 * 2**23: adding it rounds to the nearest whole number and leaves that in the low bits
_SHIFTER_BITS = np.int32(0x4B400000)
_MANTISSA_BITS = np.int32(23)
_ONE, _TWO, _ZERO = _F(1), _F(2), _F(0)

_EXP_LOWEST, _EXP_HIGHEST = _F(-87.33654), _F(88.72283)  # log of the least normal and of the largest float32
_E2, _E3, _E4 = _F(0.49999997), _F(0.16666542), _F(0.041667204)
_E5, _E6 = _F(0.008366647), _F(0.0013882498)

_TANH_ONE = _F(9.02)  # from here on tanh rounds to 1
_SIGN = np.int32(-0x80000000)

_SQRT_HALF_BITS, _FRACTION = np.int32(0x3F3504F3), np.int32(0x007FFFFF)
_LEAST_NORMAL, _LIFT, _LIFT_EXPONENT = _F(1.1754944e-38), _F(33554432.0), _F(25)
_INFINITY, _NAN = _F(np.inf), _F(np.nan)
_L3, _L4, _L5, _L6 = _F(0.33333331), _F(-0.25000820), _F(0.20001227), _F(-0.16623357)
_L7, _L8, _L9, _L10 = _F(0.14201759), _F(-0.13160183), _F(0.12761575), _F(-0.076344952)


@_elementary
def exp(x):
    """Return e**x, within 1.05 ulp; +0 where the result is below the least normal number."""
    shifted = x * _LOG2E + _SHIFTER
    n = shifted - _SHIFTER
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = _E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))
    mantissa = _ONE + (r + r * r * p)
    exponent = np.int32(_F(shifted).view(np.int32) - _SHIFTER_BITS)
    y = np.int32(_F(mantissa).view(np.int32) + np.int32(exponent << _MANTISSA_BITS)).view(np.float32)
    y = _ZERO if x < _EXP_LOWEST else y
    return y if x <= _EXP_HIGHEST else x * _INFINITY  # NaN goes this way too


@_elementary
def tanh(x):
    """Return the hyperbolic tangent, within 2.6 ulp: u / (u + 2) with u = exp(2|x|) - 1 free of cancellation."""
    size = np.int32(_F(x).view(np.int32) & ~_SIGN).view(np.float32)
    size = _TANH_ONE if size > _TANH_ONE else size  # noqa: FURB136 (min need not keep NaN)
    double = size + size
    shifted = double * _LOG2E + _SHIFTER
    n = shifted - _SHIFTER
    r = double - n * _LN2_HIGH - n * _LN2_LOW
    p = _E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))
    q = r + r * r * p
    exponent = np.int32(_F(shifted).view(np.int32) - _SHIFTER_BITS)
    power = np.int32(np.int32(exponent << _MANTISSA_BITS) + np.int32(0x3F800000)).view(np.float32)
    u = power * q + (power - _ONE)
    y = u / (u + _TWO)
    return np.int32(_F(y).view(np.int32) | (_F(x).view(np.int32) & _SIGN)).view(np.float32)


@_elementary
def log(x):
    """Return the natural logarithm, within 0.87 ulp: -inf of zero, NaN below."""
    small = x < _LEAST_NORMAL
    lifted = x * _LIFT if small else x
    bits = np.int32(_F(lifted).view(np.int32) - _SQRT_HALF_BITS)
    k = _F(np.int32(bits >> _MANTISSA_BITS)) - (_LIFT_EXPONENT if small else _ZERO)
    f = np.int32(np.int32(bits & _FRACTION) + _SQRT_HALF_BITS).view(np.float32) - _ONE
    p = _L3 + f * (_L4 + f * (_L5 + f * (_L6 + f * (_L7 + f * (_L8 + f * (_L9 + f * _L10))))))
    square = f * f
    low = k * _LN2_LOW + (f * square * p - _F(0.5) * square)
    y = k * _LN2_HIGH + (f + low)
    y = x if x == _INFINITY else y
    y = -_INFINITY if x == _ZERO else y
    return y if x >= _ZERO else _NAN
