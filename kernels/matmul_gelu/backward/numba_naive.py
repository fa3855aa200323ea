"""One scalar sum and one slope of GELU for each element of the gradient.

Idea: write the reference as plain scalar loops.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, matmul_backward and gelu_backward.
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
def _backward(dy, weight, pre, dpre):
    for i in range(dpre.shape[0]):
        for j in range(dpre.shape[1]):
            total = np.float32(0)
            for k in range(dy.shape[1]):
                total += dy[i, k] * weight[k, j]
            x = pre[i, j]
            tanh = math.tanh(_SLOPE * (x + _CUBIC * x * x * x))
            inner = (_ONE - tanh * tanh) * _SLOPE * (_ONE + _THREE * _CUBIC * x * x)
            dpre[i, j] = total * (_HALF * (_ONE + tanh) + _HALF * x * inner)


@register(MATMUL_GELU_BACKWARD)
def numba_naive(dy, weight, pre, dpre):
    _backward(dy, weight, pre, dpre)
