"""One scalar sum for each element of the gradient, along columns of both operands.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np

from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from kernels.simd import naive
from registry import register


@naive
def _backward(dy_NO, x_NC, dweight_OC, accumulate):
    for i in range(dweight_OC.shape[0]):
        for j in range(dweight_OC.shape[1]):
            total = np.float32(0)
            for k in range(dy_NO.shape[0]):
                total += dy_NO[k, i] * x_NC[k, j]
            dweight_OC[i, j] = dweight_OC[i, j] + total if accumulate else total


@register(MATMUL_BACKWARD_WEIGHT)
def numba_naive(dy, x, dweight, *, accumulate):
    _backward(dy, x, dweight, accumulate)
