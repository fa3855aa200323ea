"""Two plain loops over each row: its two means, then the three gradients.

Idea: layer normalisation backward, to which the gradient that bypasses it is added.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, layernorm_backward and residual_backward.
"""

import numpy as np

from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _backward(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, accumulate):
    rows, channels = residual.shape
    if not accumulate:
        dweight[:] = np.float32(0)
        dbias[:] = np.float32(0)
    for i in range(rows):
        total = np.float32(0)
        along = np.float32(0)
        for j in range(channels):
            dnormed = dy[i, j] * weight[j]
            total += dnormed
            along += dnormed * ((residual[i, j] - mean[i]) * rstd[i])
        total /= np.float32(channels)
        along /= np.float32(channels)
        for j in range(channels):
            normed = (residual[i, j] - mean[i]) * rstd[i]
            dx[i, j] = dresidual[i, j] + (dy[i, j] * weight[j] - total - normed * along) * rstd[i]
            dweight[j] += dy[i, j] * normed
            dbias[j] += dy[i, j]


@register(RESIDUAL_LAYER_NORM_BACKWARD)
def numba_naive(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate):
    _backward(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, accumulate)
