"""One scalar sum for each element of the result.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_forward_naive.
"""

import numpy as np

from kernels.matmul.spec import MATMUL
from kernels.simd import naive
from registry import register


@naive
def _matmul(x, weight, bias, y):
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            total = np.float32(0)
            for k in range(x.shape[1]):
                total += x[i, k] * weight[j, k]
            y[i, j] = total + bias[j]


@register(MATMUL)
def numba_naive(x, weight, bias, y):
    _matmul(x, weight, bias, y)
