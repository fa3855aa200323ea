"""One plain loop over tanh of the C library.

Idea: with t = tanh(u), the derivative is (1 + t) / 2 + x (1 - t*t) u' / 2.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, gelu_backward.
Costs: a library call for each element, which no compiler vectorises.
Dims: N = rows (batch x time), C = channels.
"""

import math

import numpy as np

from kernels.gelu.spec import CUBIC, GELU_BACKWARD, SLOPE
from kernels.simd import naive
from registry import register

_HALF, _ONE, _SLOPE, _CUBIC, _STEEP = (np.float32(c) for c in (0.5, 1, SLOPE, CUBIC, 3 * CUBIC))


@naive
def _gelu_backward(dy_NC, x_NC, dx_NC):
    for i in range(x_NC.shape[0]):
        for j in range(x_NC.shape[1]):
            square = x_NC[i, j] * x_NC[i, j]
            t = np.float32(math.tanh(_SLOPE * (x_NC[i, j] + _CUBIC * square * x_NC[i, j])))
            slope = _SLOPE * (_ONE + _STEEP * square)
            dx_NC[i, j] = dy_NC[i, j] * (_HALF * (_ONE + t) + _HALF * x_NC[i, j] * (_ONE - t * t) * slope)


@register(GELU_BACKWARD)
def numba_naive(dy, x, dx):
    _gelu_backward(dy, x, dx)
