"""Plain loops over each row: the sum, its mean, its variance, the normalisation.

Idea: write the reference as plain scalar loops.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, residual_forward and layernorm_forward.
"""

import numpy as np

from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM
from kernels.simd import naive
from registry import register


@naive
def _residual_layer_norm(x1, x2, weight, bias, eps, residual, y, mean, rstd):
    size = np.float32(x1.shape[1])
    for i in range(x1.shape[0]):
        total = np.float32(0)
        for j in range(x1.shape[1]):
            residual[i, j] = x1[i, j] + x2[i, j]
            total += residual[i, j]
        m = total / size
        squares = np.float32(0)
        for j in range(x1.shape[1]):
            deviation = residual[i, j] - m
            squares += deviation * deviation
        r = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
        for j in range(x1.shape[1]):
            y[i, j] = (residual[i, j] - m) * r * weight[j] + bias[j]
        mean[i], rstd[i] = m, r


@register(RESIDUAL_LAYER_NORM)
def numba_naive(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    _residual_layer_norm(x1, x2, weight, bias, eps, residual, y, mean, rstd)
