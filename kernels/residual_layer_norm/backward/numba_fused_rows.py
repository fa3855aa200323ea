"""The gradient that bypasses the normalisation is added where dx of a row is computed.

Builds on: numba_composed, which reads and writes dx once more to add it.
Idea: one more load in a loop that has three costs less than a loop of its own.
Source: kernels/layer_norm/backward/numba_rows.py, whose partial sums for each thread it uses.
Costs: workspace of two rows for each thread; the last bits depend on the number of threads.
Dims: N = rows (batch x time), C = channels, P = threads.
"""

import numpy as np
from numba import get_num_threads, prange

from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.partial_sums import add_up
from registry import register


@jit
def _row(dy_C, dresidual_C, residual_C, weight_C, mean, rstd, dx_C, dweight_C, dbias_C):
    total = np.float32(0)
    along = np.float32(0)
    for j in range(dy_C.size):
        dnormed = dy_C[j] * weight_C[j]
        total += dnormed
        along += dnormed * ((residual_C[j] - mean) * rstd)
    total /= np.float32(dy_C.size)
    along /= np.float32(dy_C.size)
    for j in range(dy_C.size):
        normed = (residual_C[j] - mean) * rstd
        dx_C[j] = dresidual_C[j] + (dy_C[j] * weight_C[j] - total - normed * along) * rstd
        dweight_C[j] += dy_C[j] * normed
        dbias_C[j] += dy_C[j]


@jit
def _share(low, high, dy_NC, dresidual_NC, residual_NC, weight_C, mean_N, rstd_N, dx_NC, partial_2C):
    partial_2C[:] = np.float32(0)
    for i in range(low, high):
        _row(dy_NC[i], dresidual_NC[i], residual_NC[i], weight_C, mean_N[i], rstd_N[i], dx_NC[i], partial_2C[0], partial_2C[1])


@parallel
def _rows(dy_NC, dresidual_NC, residual_NC, weight_C, mean_N, rstd_N, dx_NC, dweight_C, dbias_C, accumulate, partials_P2C):
    rows, threads = dy_NC.shape[0], partials_P2C.shape[0]
    for thread in prange(threads):
        low, high = rows * thread // threads, rows * (thread + 1) // threads
        _share(low, high, dy_NC, dresidual_NC, residual_NC, weight_C, mean_N, rstd_N, dx_NC, partials_P2C[thread])
    add_up(partials_P2C[:, 0], dweight_C, accumulate)
    add_up(partials_P2C[:, 1], dbias_C, accumulate)


@register(RESIDUAL_LAYER_NORM_BACKWARD, workspace=lambda threads, N, C: threads * 2 * C)  # noqa: ARG005 (every dim is passed)
def numba_fused_rows(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate, workspace):
    threads, channels = get_num_threads(), weight.size
    partials_P2C = workspace[: threads * 2 * channels].reshape(threads, 2, channels)
    _rows(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, accumulate, partials_P2C)
