"""Three plain loops over each row: its maximum, the sum of exponentials, the division.

Idea: subtract the row's maximum first, so that nothing overflows.
Source: karpathy/llm.c, train_gpt2.c, softmax_forward.
Dims: N = rows, C = classes.
"""

import math

import numpy as np

from kernels.simd import naive
from kernels.softmax.spec import SOFTMAX
from registry import register


@naive
def _softmax(x_NC, y_NC):
    for i in range(x_NC.shape[0]):
        largest = np.float32(-np.inf)
        for j in range(x_NC.shape[1]):
            largest = max(largest, x_NC[i, j])
        total = np.float32(0)
        for j in range(x_NC.shape[1]):
            y_NC[i, j] = math.exp(x_NC[i, j] - largest)
            total += y_NC[i, j]
        for j in range(x_NC.shape[1]):
            y_NC[i, j] /= total


@register(SOFTMAX)
def numba_naive(x, y):
    _softmax(x, y)
