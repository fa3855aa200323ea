"""One plain loop over tanh of the C library.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, gelu_forward.
Costs: a call for each element, which no compiler vectorises.
"""

import math

import numpy as np

from kernels.gelu.spec import CUBIC, GELU, SLOPE
from kernels.simd import naive
from registry import register

_SLOPE, _CUBIC = np.float32(SLOPE), np.float32(CUBIC)


@naive
def _gelu(x, y):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            u = _SLOPE * (x[i, j] + _CUBIC * x[i, j] * x[i, j] * x[i, j])
            y[i, j] = np.float32(0.5) * x[i, j] * (np.float32(1) + math.tanh(u))


@register(GELU)
def numba_naive(x, y):
    _gelu(x, y)
