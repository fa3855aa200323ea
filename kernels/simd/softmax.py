"""Maximum and sum of exponentials of a row, for softmax and cross entropy.

Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
"""

import numpy as np

from kernels.simd import jit
from kernels.simd.math import exp

__all__ = ["BLOCK", "largest", "largest_and_sum"]

BLOCK = 1024  # 4 KB: a block stays in the first-level cache between its maximum and its exponentials
_LOWEST = np.float32(-np.inf)
_SMALLEST, _MAGNITUDE, _SIGN_BIT = np.int32(-0x80000000), np.int32(0x7FFFFFFF), np.int32(31)


@jit
def largest(x):
    """Return the maximum, taken over integers that sort as the floats do: the compiler may reorder it, and NaN is kept."""
    bits = x.view(np.int32)
    key = _SMALLEST
    for j in range(bits.size):
        key = max(key, np.int32(bits[j] ^ np.int32(np.int32(bits[j] >> _SIGN_BIT) & _MAGNITUDE)))
    return np.int32(key ^ ((key >> _SIGN_BIT) & _MAGNITUDE)).view(np.float32)


@jit
def _sum_exp(x, row_max):
    row_sum = np.float32(0)
    for j in range(x.size):
        row_sum += exp(x[j] - row_max)
    return row_sum


@jit
def largest_and_sum(x):
    """Return the largest of x and the sum of exp(x - largest): x is read once, in blocks that stay in the first-level cache."""
    row_max, row_sum = _LOWEST, np.float32(0)
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        block_max = largest(block)
        if not block_max <= row_max:
            row_sum *= exp(row_max - block_max)
            row_max = block_max
        row_sum += _sum_exp(block, row_max if row_max != _LOWEST else np.float32(0))  # -inf - -inf would be NaN
    return row_max, row_sum
