"""Plain loops over each row: the sum, its mean, its variance, the normalisation.

Idea: write the reference as plain scalar loops.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, residual_forward and layernorm_forward.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np

from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM
from kernels.simd import naive
from registry import register


@naive
def _residual_layer_norm(x1_NC, x2_NC, weight_C, bias_C, eps, residual_NC, y_NC, mean_N, rstd_N):
    size = np.float32(x1_NC.shape[1])
    for i in range(x1_NC.shape[0]):
        total = np.float32(0)
        for j in range(x1_NC.shape[1]):
            residual_NC[i, j] = x1_NC[i, j] + x2_NC[i, j]
            total += residual_NC[i, j]
        m = total / size
        squares = np.float32(0)
        for j in range(x1_NC.shape[1]):
            deviation = residual_NC[i, j] - m
            squares += deviation * deviation
        r = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
        for j in range(x1_NC.shape[1]):
            y_NC[i, j] = (residual_NC[i, j] - m) * r * weight_C[j] + bias_C[j]
        mean_N[i], rstd_N[i] = m, r


@register(RESIDUAL_LAYER_NORM)
def numba_naive(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    _residual_layer_norm(x1, x2, weight, bias, eps, residual, y, mean, rstd)
