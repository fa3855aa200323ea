"""One scalar sum down each column.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward.
Dims: N = rows (batch x time), O = output channels.
"""

import numpy as np

from kernels.matmul.spec import MATMUL_BACKWARD_BIAS
from kernels.simd import naive
from registry import register


@naive
def _backward(dy_NO, dbias_O, accumulate):
    for j in range(dbias_O.size):
        total = np.float32(0)
        for i in range(dy_NO.shape[0]):
            total += dy_NO[i, j]
        dbias_O[j] = dbias_O[j] + total if accumulate else total


@register(MATMUL_BACKWARD_BIAS)
def numba_naive(dy, dbias, *, accumulate):
    _backward(dy, dbias, accumulate)
