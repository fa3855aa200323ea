"""One scalar sum and one slope of GELU for each element of the gradient.

Idea: write the reference as plain scalar loops.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, matmul_backward and gelu_backward.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import math

import numpy as np

from kernels.gelu.spec import CUBIC, SLOPE
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from kernels.simd import naive
from registry import register

_SLOPE, _CUBIC = np.float32(SLOPE), np.float32(CUBIC)
_HALF, _ONE, _THREE = np.float32(0.5), np.float32(1), np.float32(3)


@naive
def _backward(dy_NO, weight_OC, pre_NC, dpre_NC):
    for i in range(dpre_NC.shape[0]):
        for j in range(dpre_NC.shape[1]):
            total = np.float32(0)
            for k in range(dy_NO.shape[1]):
                total += dy_NO[i, k] * weight_OC[k, j]
            x = pre_NC[i, j]
            tanh = math.tanh(_SLOPE * (x + _CUBIC * x * x * x))
            inner = (_ONE - tanh * tanh) * _SLOPE * (_ONE + _THREE * _CUBIC * x * x)
            dpre_NC[i, j] = total * (_HALF * (_ONE + tanh) + _HALF * x * inner)


@register(MATMUL_GELU_BACKWARD)
def numba_naive(dy, weight, pre, dpre):
    _backward(dy, weight, pre, dpre)
