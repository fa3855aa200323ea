"""Two plain loops over each row: the mean of its squares, then the scaling.

Idea: write the reference as scalar code, one operation after the other.
Source: B. Zhang and R. Sennrich, Root Mean Square Layer Normalization (2019), arXiv:1910.07467, equation 4;
    the loops are those of karpathy/llama2.c, run.c, rmsnorm.
Dims: N = rows (batch x time), C = channels.
"""

import numpy as np

from kernels.rms_norm.spec import RMS_NORM
from kernels.simd import naive
from registry import register


@naive
def _rms_norm(x_NC, weight_C, eps, y_NC, rstd_N):
    rows, channels = x_NC.shape
    for i in range(rows):
        squares = np.float32(0)
        for j in range(channels):
            squares += x_NC[i, j] * x_NC[i, j]
        rstd = np.float32(1) / np.sqrt(squares / np.float32(channels) + np.float32(eps))
        for j in range(channels):
            y_NC[i, j] = x_NC[i, j] * rstd * weight_C[j]
        rstd_N[i] = rstd


@register(RMS_NORM)
def numba_naive(x, weight, y, rstd, *, eps):
    _rms_norm(x, weight, eps, y, rstd)
