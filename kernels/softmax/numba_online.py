"""Maximum and sum of a row in one read, then one write of the result.

Builds on: numba_rows, which goes over each row three times.
Idea: keep a running sum relative to the largest value so far, and rescale it when a block of the row raises the maximum. A
    block stays in the first-level cache for its own maximum and its own exponentials.
Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
Costs: the exponentials are computed twice.
Dims: N = rows, C = classes.
"""

import numpy as np
from numba import prange

from kernels.simd import jit, parallel
from kernels.simd.math import exp
from kernels.simd.softmax import BLOCK, largest_and_sum
from kernels.softmax.spec import SOFTMAX
from registry import register


@jit
def _row(x_C, y_C):
    largest, total = largest_and_sum(x_C)
    factor = np.float32(1) / total
    for j in range(x_C.size):
        y_C[j] = exp(x_C[j] - largest) * factor


@parallel
def _rows(x_NC, y_NC):
    for i in prange(x_NC.shape[0]):
        _row(x_NC[i], y_NC[i])


@register(SOFTMAX, tiles={"C": (BLOCK,)})
def numba_online(x, y):
    _rows(x, y)
