"""One scalar sum for each element of the gradient, along a column of the weight.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np

from kernels.matmul.spec import MATMUL_BACKWARD_INPUT
from kernels.simd import naive
from registry import register


@naive
def _backward(dy_NO, weight_OC, dx_NC):
    for i in range(dx_NC.shape[0]):
        for j in range(dx_NC.shape[1]):
            total = np.float32(0)
            for k in range(dy_NO.shape[1]):
                total += dy_NO[i, k] * weight_OC[k, j]
            dx_NC[i, j] = total


@register(MATMUL_BACKWARD_INPUT)
def numba_naive(dy, weight, dx):
    _backward(dy, weight, dx)
