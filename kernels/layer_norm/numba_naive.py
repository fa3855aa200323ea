"""Three plain loops over each row: its mean, its variance, the normalisation.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, layernorm_forward.
"""

import numpy as np

from kernels.layer_norm.spec import LAYER_NORM
from kernels.simd import naive
from registry import register


@naive
def _layer_norm(x, weight, bias, eps, y, mean, rstd):
    size = np.float32(x.shape[1])
    for i in range(x.shape[0]):
        total = np.float32(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        m = total / size
        squares = np.float32(0)
        for j in range(x.shape[1]):
            deviation = x[i, j] - m
            squares += deviation * deviation
        r = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - m) * r * weight[j] + bias[j]
        mean[i], rstd[i] = m, r


@register(LAYER_NORM)
def numba_naive(x, weight, bias, y, mean, rstd, *, eps):
    _layer_norm(x, weight, bias, eps, y, mean, rstd)
