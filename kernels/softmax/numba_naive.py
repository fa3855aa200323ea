"""Three plain loops over each row: its maximum, the sum of exponentials, the division.

Idea: subtract the row's maximum first, so that nothing overflows.
Source: karpathy/llm.c, train_gpt2.c, softmax_forward.
"""

import math

import numpy as np

from kernels.simd import naive
from kernels.softmax.spec import SOFTMAX
from registry import register


@naive
def _softmax(x, y):
    for i in range(x.shape[0]):
        largest = np.float32(-np.inf)
        for j in range(x.shape[1]):
            largest = max(largest, x[i, j])
        total = np.float32(0)
        for j in range(x.shape[1]):
            y[i, j] = math.exp(x[i, j] - largest)
            total += y[i, j]
        for j in range(x.shape[1]):
            y[i, j] /= total


@register(SOFTMAX)
def numba_naive(x, y):
    _softmax(x, y)
