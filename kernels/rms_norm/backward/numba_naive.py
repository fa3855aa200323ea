"""Two plain loops over each row: one mean, then both gradients.

Idea: with n = x * rstd and g = dy * weight, dx = (g - n * mean(g * n)) * rstd and dweight = sum over rows of dy * n.
Source: B. Zhang and R. Sennrich, Root Mean Square Layer Normalization (2019), arXiv:1910.07467, section 4.2.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np

from kernels.rms_norm.spec import RMS_NORM_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _rms_norm_backward(dy_NC, x_NC, weight_C, rstd_N, dx_NC, dweight_C, accumulate):
    rows, channels = x_NC.shape
    if not accumulate:
        dweight_C[:] = np.float32(0)
    for i in range(rows):
        along = np.float32(0)
        for j in range(channels):
            along += dy_NC[i, j] * weight_C[j] * (x_NC[i, j] * rstd_N[i])
        along /= np.float32(channels)
        for j in range(channels):
            normed = x_NC[i, j] * rstd_N[i]
            dx_NC[i, j] = (dy_NC[i, j] * weight_C[j] - normed * along) * rstd_N[i]
            dweight_C[j] += dy_NC[i, j] * normed


@register(RMS_NORM_BACKWARD)
def numba_naive(dy, x, weight, rstd, dx, dweight, *, accumulate):
    _rms_norm_backward(dy, x, weight, rstd, dx, dweight, accumulate)
