"""Threads share the rows, and the loops over a row are vectorised.

Builds on: numba_naive, which has one thread and adds one square after the other to a single sum.
Idea: allow the compiler to reorder the sum of squares, so that it becomes a vector of partial sums. A row of thousands of
    channels stays in the first or second cache between the sum and the scaling.
Source: karpathy/llama2.c, run.c, rmsnorm, for the loops; kernels/layer_norm/numba_rows.py for rows as the unit of parallel
    work.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np
from numba import prange

from kernels.rms_norm.spec import RMS_NORM
from kernels.simd import jit, parallel
from registry import register


@jit
def _row(x_C, weight_C, eps, y_C):
    squares = np.float32(0)
    for j in range(x_C.size):
        squares += x_C[j] * x_C[j]
    rstd = np.float32(1) / np.sqrt(squares / np.float32(x_C.size) + np.float32(eps))
    for j in range(x_C.size):
        y_C[j] = x_C[j] * rstd * weight_C[j]
    return rstd


@parallel
def _rows(x_NC, weight_C, eps, y_NC, rstd_N):
    for i in prange(x_NC.shape[0]):
        rstd_N[i] = _row(x_NC[i], weight_C, eps, y_NC[i])


@register(RMS_NORM)
def numba_rows(x, weight, y, rstd, *, eps):
    _rows(x, weight, eps, y, rstd)
