"""Two plain loops over each row: its two means, then the three gradients.

Idea: layer normalisation backward, to which the gradient that bypasses it is added.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, layernorm_backward and residual_backward.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np

from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _backward(dy_NC, dresidual_NC, residual_NC, weight_C, mean_N, rstd_N, dx_NC, dweight_C, dbias_C, accumulate):
    rows, channels = residual_NC.shape
    if not accumulate:
        dweight_C[:] = np.float32(0)
        dbias_C[:] = np.float32(0)
    for i in range(rows):
        total = np.float32(0)
        along = np.float32(0)
        for j in range(channels):
            dnormed = dy_NC[i, j] * weight_C[j]
            total += dnormed
            along += dnormed * ((residual_NC[i, j] - mean_N[i]) * rstd_N[i])
        total /= np.float32(channels)
        along /= np.float32(channels)
        for j in range(channels):
            normed = (residual_NC[i, j] - mean_N[i]) * rstd_N[i]
            dx_NC[i, j] = dresidual_NC[i, j] + (dy_NC[i, j] * weight_C[j] - total - normed * along) * rstd_N[i]
            dweight_C[j] += dy_NC[i, j] * normed
            dbias_C[j] += dy_NC[i, j]


@register(RESIDUAL_LAYER_NORM_BACKWARD)
def numba_naive(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate):
    _backward(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, accumulate)
