"""One plain loop over tanh of the C library.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, gelu_forward.
Costs: a library call for each element, which no compiler vectorises.
Dims: N = rows (batch x time), C = channels.
"""

import math

import numpy as np

from kernels.gelu.spec import CUBIC, GELU, SLOPE
from kernels.simd import naive
from registry import register

_SLOPE, _CUBIC = np.float32(SLOPE), np.float32(CUBIC)


@naive
def _gelu(x_NC, y_NC):
    for i in range(x_NC.shape[0]):
        for j in range(x_NC.shape[1]):
            u = _SLOPE * (x_NC[i, j] + _CUBIC * x_NC[i, j] * x_NC[i, j] * x_NC[i, j])
            y_NC[i, j] = np.float32(0.5) * x_NC[i, j] * (np.float32(1) + math.tanh(u))


@register(GELU)
def numba_naive(x, y):
    _gelu(x, y)
