"""The derivative in terms of the logistic function s of 2u, cut between threads.

Builds on: numba_naive, which calls tanh of the C library for each element.
Idea: s + x s (1 - s) 2u', with 1 - s = e / (1 + e) and e = exp(-2|u|): one exponential and one division an element, no
    difference of near-equal numbers, and nothing that overflows before the product is zero.
Source: the identity is that of D. Hendrycks and K. Gimpel, arXiv:1606.08415, section 2.
"""

import numpy as np
from numba import prange

from kernels.gelu.spec import CUBIC, GELU_BACKWARD, SLOPE
from kernels.simd import parallel
from kernels.simd.math import exp
from registry import register

_ONE, _LINEAR, _CUBIC, _STEEP = (np.float32(c) for c in (1, 2 * SLOPE, 2 * SLOPE * CUBIC, 6 * SLOPE * CUBIC))
_FLAT = np.float32(256)  # where |x| is above 16 the derivative is 0 or 1 to the last bit, and x**3 could overflow


@parallel
def _flat(dy, x, dx):
    dy, x, dx = dy.reshape(-1), x.reshape(-1), dx.reshape(-1)
    for i in prange(x.size):
        size = abs(x[i])
        square = size * size
        square = _FLAT if square > _FLAT else square  # noqa: FURB136 (min need not keep NaN)
        e = exp(-size * (_LINEAR + _CUBIC * square))
        upper = _ONE / (_ONE + e)
        lower = e * upper
        bump = size * upper * lower * (_LINEAR + _STEEP * square)
        dx[i] = dy[i] * (upper + bump if x[i] > 0 else lower - bump)


@register(GELU_BACKWARD)
def numba_sigmoid(dy, x, dx):
    _flat(dy, x, dx)
