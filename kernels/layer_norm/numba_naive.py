"""Three plain loops over each row: its mean, its variance, the normalisation.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, layernorm_forward.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np

from kernels.layer_norm.spec import LAYER_NORM
from kernels.simd import naive
from registry import register


@naive
def _layer_norm(x_NC, weight_C, bias_C, eps, y_NC, mean_N, rstd_N):
    size = np.float32(x_NC.shape[1])
    for i in range(x_NC.shape[0]):
        total = np.float32(0)
        for j in range(x_NC.shape[1]):
            total += x_NC[i, j]
        m = total / size
        squares = np.float32(0)
        for j in range(x_NC.shape[1]):
            deviation = x_NC[i, j] - m
            squares += deviation * deviation
        r = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
        for j in range(x_NC.shape[1]):
            y_NC[i, j] = (x_NC[i, j] - m) * r * weight_C[j] + bias_C[j]
        mean_N[i], rstd_N[i] = m, r


@register(LAYER_NORM)
def numba_naive(x, weight, bias, y, mean, rstd, *, eps):
    _layer_norm(x, weight, bias, eps, y, mean, rstd)
