"""Threads share the rows, and the loops over a row are vectorised.

Builds on: numba_naive, which has one thread and one running sum.
Idea: allow the compiler to reorder the two sums of a row, so that each becomes a vector of partial sums.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, layernorm_forward.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np
from numba import prange

from kernels.layer_norm.spec import LAYER_NORM
from kernels.simd import jit, parallel
from registry import register


@jit
def _row(x_C, weight_C, bias_C, eps, y_C):
    size = np.float32(x_C.size)
    total = np.float32(0)
    for j in range(x_C.size):
        total += x_C[j]
    mean = total / size
    squares = np.float32(0)
    for j in range(x_C.size):
        deviation = x_C[j] - mean
        squares += deviation * deviation
    rstd = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
    for j in range(x_C.size):
        y_C[j] = (x_C[j] - mean) * rstd * weight_C[j] + bias_C[j]
    return mean, rstd


@parallel
def _rows(x_NC, weight_C, bias_C, eps, y_NC, mean_N, rstd_N):
    for i in prange(x_NC.shape[0]):
        mean_N[i], rstd_N[i] = _row(x_NC[i], weight_C, bias_C, eps, y_NC[i])


@register(LAYER_NORM)
def numba_rows(x, weight, bias, y, mean, rstd, *, eps):
    _rows(x, weight, bias, eps, y, mean, rstd)
