"""One scalar sum and one hyperbolic tangent for each element of the result.

Idea: write the reference as plain scalar loops.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, matmul_forward_naive and gelu_forward.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import math

import numpy as np

from kernels.gelu.spec import CUBIC, SLOPE
from kernels.matmul_gelu.spec import MATMUL_GELU
from kernels.simd import naive
from registry import register

_SLOPE, _CUBIC, _HALF, _ONE = np.float32(SLOPE), np.float32(CUBIC), np.float32(0.5), np.float32(1)


@naive
def _matmul_gelu(x_NC, weight_OC, bias_O, pre_NO, y_NO):
    for i in range(y_NO.shape[0]):
        for j in range(y_NO.shape[1]):
            total = np.float32(0)
            for k in range(x_NC.shape[1]):
                total += x_NC[i, k] * weight_OC[j, k]
            total += bias_O[j]
            pre_NO[i, j] = total
            y_NO[i, j] = _HALF * total * (_ONE + math.tanh(_SLOPE * (total + _CUBIC * total * total * total)))


@register(MATMUL_GELU)
def numba_naive(x, weight, bias, pre, y):
    _matmul_gelu(x, weight, bias, pre, y)
