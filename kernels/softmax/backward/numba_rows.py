"""The same two loops, each of which vectorises; threads share the rows.

Builds on: numba_naive, whose dot product adds one value at a time.
Idea: allow the compiler to split the dot product into a vector of partial sums. The second loop finds the row in the cache.
Source: the same scheme as vec_softmax_backward_lastdim in pytorch/pytorch, aten/src/ATen/native/cpu/SoftMaxKernel.cpp.
Dims: N = rows, C = classes.
"""

import numpy as np
from numba import prange

from kernels.simd import jit, parallel
from kernels.softmax.spec import SOFTMAX_BACKWARD
from registry import register


@jit
def _row(dy_C, y_C, dx_C):
    along = np.float32(0)
    for j in range(y_C.size):
        along += dy_C[j] * y_C[j]
    for j in range(y_C.size):
        dx_C[j] = y_C[j] * (dy_C[j] - along)


@parallel
def _rows(dy_NC, y_NC, dx_NC):
    for i in prange(y_NC.shape[0]):
        _row(dy_NC[i], y_NC[i], dx_NC[i])


@register(SOFTMAX_BACKWARD)
def numba_rows(dy, y, dx):
    _rows(dy, y, dx)
