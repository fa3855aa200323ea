"""Each row read once, in blocks, with a running maximum and a running sum.

Builds on: numba_naive, which reads each row twice and takes one exponential at a time.
Idea: a block of the row stays in the first-level cache for its maximum and its exponentials; what was summed before is
    rescaled when a block raises the maximum. The maximum is taken over whole numbers that sort as the floats do, which
    the compiler may reorder although NaN must survive.
Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
"""

import numpy as np
from numba import prange

from kernels.cross_entropy.spec import CROSS_ENTROPY
from kernels.simd import jit, parallel
from kernels.simd.math import exp, log
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
def _row(x, target):
    largest, total = _LOWEST, np.float32(0)
    for start in range(0, x.size, BLOCK):
        block = x[start : start + BLOCK]
        found = _largest(block)
        if not found <= largest:
            total *= exp(largest - found)
            largest = found
        total += _sum_exp(block, largest if largest != _LOWEST else np.float32(0))  # -inf - -inf would be NaN
    return log(total) + (largest - x[target])


@parallel
def _rows(logits, targets, losses, vocab_size):
    for i in prange(logits.shape[0]):
        losses[i] = _row(logits[i, :vocab_size], targets[i])


@register(CROSS_ENTROPY, tiles={"V": (BLOCK,)})
def numba_online(logits, targets, losses, *, vocab_size):
    _rows(logits, targets, losses, vocab_size)
