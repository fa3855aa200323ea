"""Each row read once, in blocks, with a running maximum and a running sum.

Builds on: numba_naive, which reads each row twice and takes one exponential at a time.
Idea: a block of the row stays in the first-level cache for its maximum and its exponentials; what was summed before is
    rescaled when a block raises the maximum. The maximum is taken over whole numbers that sort as the floats do, which
    the compiler may reorder although NaN must survive.
Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
"""

from numba import prange

from kernels.cross_entropy.spec import CROSS_ENTROPY
from kernels.simd import jit, parallel
from kernels.simd.math import log
from kernels.simd.softmax import BLOCK, largest_and_sum
from registry import register


@jit
def _row(x, target):
    largest, total = largest_and_sum(x)
    return log(total) + (largest - x[target])


@parallel
def _rows(logits, targets, losses, vocab_size):
    for i in prange(logits.shape[0]):
        losses[i] = _row(logits[i, :vocab_size], targets[i])


@register(CROSS_ENTROPY, tiles={"V": (BLOCK,)})
def numba_online(logits, targets, losses, *, vocab_size):
    _rows(logits, targets, losses, vocab_size)
