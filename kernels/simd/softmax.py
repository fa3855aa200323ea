"""Maximum and sum of exponentials of a row: what softmax and its loss share.

Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
"""

import numpy as np

from kernels.simd import jit
from kernels.simd.math import exp

__all__ = ["BLOCK", "largest", "largest_and_sum"]

BLOCK = 1024
_LOWEST = np.float32(-np.inf)
_SMALLEST, _MAGNITUDE, _SIGN_BIT = np.int32(-0x80000000), np.int32(0x7FFFFFFF), np.int32(31)


@jit
def largest(x):
    """Return the maximum over whole numbers that sort as the floats do: the compiler may reorder it although NaN survives."""
    bits = x.view(np.int32)
    key = _SMALLEST
    for j in range(bits.size):
        key = max(key, np.int32(bits[j] ^ np.int32(np.int32(bits[j] >> _SIGN_BIT) & _MAGNITUDE)))
    return np.int32(key ^ ((key >> _SIGN_BIT) & _MAGNITUDE)).view(np.float32)


@jit
def _sum_exp(x, top):
    total = np.float32(0)
    for j in range(x.size):
        total += exp(x[j] - top)
    return total


@jit
def largest_and_sum(x):
    """Return the largest of x and the sum of exp(x - largest): x is read once, in blocks that stay in the first-level cache."""
    top, total = _LOWEST, np.float32(0)
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        found = largest(block)
        if not found <= top:
            total *= exp(top - found)
            top = found
        total += _sum_exp(block, top if top != _LOWEST else np.float32(0))  # -inf - -inf would be NaN
    return top, total
