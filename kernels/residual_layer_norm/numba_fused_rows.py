"""A row is summed, measured and normalised while it is in the first cache.

Builds on: numba_composed, which reads all rows twice and starts two parallel loops.
Idea: the loop that adds the row also sums it for its mean, and one parallel loop does everything.
Source: the fused kernel of karpathy/llm.c, llmc/layernorm.cuh, fused_residual_forward.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np
from numba import prange

from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM
from kernels.simd import jit, parallel
from registry import register


@jit
def _row(x1_C, x2_C, weight_C, bias_C, eps, residual_C, y_C):
    size = np.float32(x1_C.size)
    total = np.float32(0)
    for j in range(x1_C.size):
        x = x1_C[j] + x2_C[j]
        residual_C[j] = x
        total += x
    mean = total / size
    squares = np.float32(0)
    for j in range(x1_C.size):
        deviation = residual_C[j] - mean
        squares += deviation * deviation
    rstd = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
    for j in range(x1_C.size):
        y_C[j] = (residual_C[j] - mean) * rstd * weight_C[j] + bias_C[j]
    return mean, rstd


@parallel
def _rows(x1_NC, x2_NC, weight_C, bias_C, eps, residual_NC, y_NC, mean_N, rstd_N):
    for i in prange(x1_NC.shape[0]):
        mean_N[i], rstd_N[i] = _row(x1_NC[i], x2_NC[i], weight_C, bias_C, eps, residual_NC[i], y_NC[i])


@register(RESIDUAL_LAYER_NORM)
def numba_fused_rows(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    _rows(x1, x2, weight, bias, eps, residual, y, mean, rstd)
