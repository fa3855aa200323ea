"""One row at a time, rows shared between threads, inner loops that vectorise.

Builds on: numba_naive, which is one thread and one running sum.
Idea: let the compiler reorder the two sums of a row, so that each becomes a vector of partial sums.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, layernorm_forward.
"""

import numpy as np
from numba import prange

from kernels.layer_norm.spec import LAYER_NORM
from kernels.simd import jit, parallel
from registry import register


@jit
def _row(x, weight, bias, eps, y):
    size = np.float32(x.size)
    total = np.float32(0)
    for j in range(x.size):
        total += x[j]
    mean = total / size
    squares = np.float32(0)
    for j in range(x.size):
        deviation = x[j] - mean
        squares += deviation * deviation
    rstd = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
    for j in range(x.size):
        y[j] = (x[j] - mean) * rstd * weight[j] + bias[j]
    return mean, rstd


@parallel
def _rows(x, weight, bias, eps, y, mean, rstd):
    for i in prange(x.shape[0]):
        mean[i], rstd[i] = _row(x[i], weight, bias, eps, y[i])


@register(LAYER_NORM)
def numba_rows(x, weight, bias, y, mean, rstd, *, eps):
    _rows(x, weight, bias, eps, y, mean, rstd)
