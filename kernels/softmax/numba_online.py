"""Maximum and sum of a row in one read, then one write of the result.

Builds on: numba_rows, which goes over each row three times.
Idea: keep a running sum relative to the largest value so far, and rescale it when a block of the row raises that; a block
    stays in the first-level cache for its own maximum and its own exponentials.
Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
Costs: the exponentials are computed twice.
"""

import numpy as np
from numba import prange

from kernels.simd import jit, parallel
from kernels.simd.math import exp
from kernels.softmax.spec import SOFTMAX
from registry import register

BLOCK = 1024
_LOWEST = np.float32(-np.inf)
_SMALLEST, _MAGNITUDE, _SIGN_BIT = np.int32(-0x80000000), np.int32(0x7FFFFFFF), np.int32(31)


@jit
def _largest(x):
    bits = x.view(np.int32)
    key = _SMALLEST
    for j in range(bits.size):
        key = max(key, np.int32(bits[j] ^ np.int32(np.int32(bits[j] >> _SIGN_BIT) & _MAGNITUDE)))
    return np.int32(key ^ ((key >> _SIGN_BIT) & _MAGNITUDE)).view(np.float32)


@jit
def _sum_exp(x, largest):
    total = np.float32(0)
    for j in range(x.size):
        total += exp(x[j] - largest)
    return total


@jit
def _row(x, y):
    largest, total = _LOWEST, np.float32(0)
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        found = _largest(block)
        if not found <= largest:
            total *= exp(largest - found)
            largest = found
        total += _sum_exp(block, largest if largest != _LOWEST else np.float32(0))  # -inf - -inf would be NaN
    factor = np.float32(1) / total
    for j in range(x.size):
        y[j] = exp(x[j] - largest) * factor


@parallel
def _rows(x, y):
    for i in prange(x.shape[0]):
        _row(x[i], y[i])


@register(SOFTMAX, tiles={"C": (BLOCK,)})
def numba_online(x, y):
    _rows(x, y)
