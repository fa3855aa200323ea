"""Two plain loops over each row: its two means, then the three gradients.

Idea: with n = (x - mean) * rstd and g = dy * weight, dx = (g - mean(g) - n * mean(g * n)) * rstd.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, layernorm_backward.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np

from kernels.layer_norm.spec import LAYER_NORM_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _layer_norm_backward(dy_NC, x_NC, weight_C, mean_N, rstd_N, dx_NC, dweight_C, dbias_C, accumulate):
    size = np.float32(x_NC.shape[1])
    if not accumulate:
        dweight_C[:] = np.float32(0)
        dbias_C[:] = np.float32(0)
    for i in range(x_NC.shape[0]):
        total = np.float32(0)
        along = np.float32(0)
        for j in range(x_NC.shape[1]):
            dnormed = dy_NC[i, j] * weight_C[j]
            total += dnormed
            along += dnormed * ((x_NC[i, j] - mean_N[i]) * rstd_N[i])
        total /= size
        along /= size
        for j in range(x_NC.shape[1]):
            normed = (x_NC[i, j] - mean_N[i]) * rstd_N[i]
            dx_NC[i, j] = (dy_NC[i, j] * weight_C[j] - total - normed * along) * rstd_N[i]
            dweight_C[j] += dy_NC[i, j] * normed
            dbias_C[j] += dy_NC[i, j]


@register(LAYER_NORM_BACKWARD)
def numba_naive(dy, x, weight, mean, rstd, dx, dweight, dbias, *, accumulate):
    _layer_norm_backward(dy, x, weight, mean, rstd, dx, dweight, dbias, accumulate)
