"""One scalar sum for each element of the gradient, along a column of the weight.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward.
"""

import numpy as np

from kernels.matmul.spec import MATMUL_BACKWARD_INPUT
from kernels.simd import naive
from registry import register


@naive
def _backward(dy, weight, dx):
    for i in range(dx.shape[0]):
        for j in range(dx.shape[1]):
            total = np.float32(0)
            for k in range(dy.shape[1]):
                total += dy[i, k] * weight[k, j]
            dx[i, j] = total


@register(MATMUL_BACKWARD_INPUT)
def numba_naive(dy, weight, dx):
    _backward(dy, weight, dx)
