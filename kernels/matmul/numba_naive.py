"""One scalar sum for each element of the result.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_forward_naive.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np

from kernels.matmul.spec import MATMUL
from kernels.simd import naive
from registry import register


@naive
def _matmul(x_NC, weight_OC, bias_O, y_NO):
    for i in range(y_NO.shape[0]):
        for j in range(y_NO.shape[1]):
            total = np.float32(0)
            for k in range(x_NC.shape[1]):
                total += x_NC[i, k] * weight_OC[j, k]
            y_NO[i, j] = total + bias_O[j]


@register(MATMUL)
def numba_naive(x, weight, bias, y):
    _matmul(x, weight, bias, y)
