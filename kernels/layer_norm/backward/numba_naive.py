"""Two plain loops over each row: its two means, then the three gradients.

Idea: with n = (x - mean) * rstd and g = dy * weight, dx = (g - mean(g) - n * mean(g * n)) * rstd.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, layernorm_backward.
"""

import numpy as np

from kernels.layer_norm.spec import LAYER_NORM_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _layer_norm_backward(dy, x, weight, mean, rstd, dx, dweight, dbias, accumulate):
    size = np.float32(x.shape[1])
    if not accumulate:
        dweight[:] = np.float32(0)
        dbias[:] = np.float32(0)
    for i in range(x.shape[0]):
        total = np.float32(0)
        along = np.float32(0)
        for j in range(x.shape[1]):
            dnormed = dy[i, j] * weight[j]
            total += dnormed
            along += dnormed * ((x[i, j] - mean[i]) * rstd[i])
        total /= size
        along /= size
        for j in range(x.shape[1]):
            normed = (x[i, j] - mean[i]) * rstd[i]
            dx[i, j] = (dy[i, j] * weight[j] - total - normed * along) * rstd[i]
            dweight[j] += dy[i, j] * normed
            dbias[j] += dy[i, j]


@register(LAYER_NORM_BACKWARD)
def numba_naive(dy, x, weight, mean, rstd, dx, dweight, dbias, *, accumulate):
    _layer_norm_backward(dy, x, weight, mean, rstd, dx, dweight, dbias, accumulate)
