"""Each row read once, in blocks, with a running maximum and a running sum.

Builds on: numba_naive, which reads each row twice and takes one exponential at a time.
Idea: a block of the row stays in the first-level cache for its maximum and its exponentials. Where a block raises the
    maximum, the earlier sum is rescaled. The maximum is taken over integers that sort as the floats do: the compiler may
    reorder an integer maximum, and NaN is kept.
Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
"""

from numba import prange

from kernels.cross_entropy.spec import CROSS_ENTROPY
from kernels.simd import jit, parallel
from kernels.simd.math import log
from kernels.simd.softmax import BLOCK, largest_and_sum
from registry import register


@jit
def _row(x_V, target):
    largest, total = largest_and_sum(x_V)
    return log(total) + (largest - x_V[target])


@parallel
def _rows(logits_NW, targets_N, losses_N, vocab_size):
    for i in prange(logits_NW.shape[0]):
        losses_N[i] = _row(logits_NW[i, :vocab_size], targets_N[i])


@register(CROSS_ENTROPY, tiles={"V": (BLOCK,)})
def numba_online(logits, targets, losses, *, vocab_size):
    _rows(logits, targets, losses, vocab_size)
