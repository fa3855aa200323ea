"""One scalar sum and one hyperbolic tangent for each element of the result.

Idea: write the reference as plain scalar loops.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, matmul_forward_naive and gelu_forward.
"""

import math

import numpy as np

from kernels.gelu.spec import CUBIC, SLOPE
from kernels.matmul_gelu.spec import MATMUL_GELU
from kernels.simd import naive
from registry import register

_SLOPE, _CUBIC, _HALF, _ONE = np.float32(SLOPE), np.float32(CUBIC), np.float32(0.5), np.float32(1)


@naive
def _matmul_gelu(x, weight, bias, pre, y):
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            total = np.float32(0)
            for k in range(x.shape[1]):
                total += x[i, k] * weight[j, k]
            total += bias[j]
            pre[i, j] = total
            y[i, j] = _HALF * total * (_ONE + math.tanh(_SLOPE * (total + _CUBIC * total * total * total)))


@register(MATMUL_GELU)
def numba_naive(x, weight, bias, pre, y):
    _matmul_gelu(x, weight, bias, pre, y)
