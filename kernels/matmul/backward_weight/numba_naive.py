"""One scalar sum for each element of the gradient, along columns of both operands.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward.
"""

import numpy as np

from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from kernels.simd import naive
from registry import register


@naive
def _backward(dy, x, dweight, accumulate):
    for i in range(dweight.shape[0]):
        for j in range(dweight.shape[1]):
            total = np.float32(0)
            for k in range(dy.shape[0]):
                total += dy[k, i] * x[k, j]
            dweight[i, j] = dweight[i, j] + total if accumulate else total


@register(MATMUL_BACKWARD_WEIGHT)
def numba_naive(dy, x, dweight, *, accumulate):
    _backward(dy, x, dweight, accumulate)
