"""The bypassing gradient is added where dx of a row is computed.

Builds on: numba_composed, which reads and writes dx once more to add it.
Idea: one more stream into a loop that already has three costs less than a loop of its own.
Source: kernels/layer_norm/backward/numba_rows.py, whose partial sums for each thread it shares.
Costs: workspace of two rows for each thread; the last bits depend on the number of threads.
"""

import numpy as np
from numba import get_num_threads, prange

from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.partial_sums import add_up
from registry import register


@jit
def _row(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias):
    total = np.float32(0)
    along = np.float32(0)
    for j in range(dy.size):
        dnormed = dy[j] * weight[j]
        total += dnormed
        along += dnormed * ((residual[j] - mean) * rstd)
    total /= np.float32(dy.size)
    along /= np.float32(dy.size)
    for j in range(dy.size):
        normed = (residual[j] - mean) * rstd
        dx[j] = dresidual[j] + (dy[j] * weight[j] - total - normed * along) * rstd
        dweight[j] += dy[j] * normed
        dbias[j] += dy[j]


@jit
def _share(low, high, dy, dresidual, residual, weight, mean, rstd, dx, partial):
    partial[:] = np.float32(0)
    for i in range(low, high):
        _row(dy[i], dresidual[i], residual[i], weight, mean[i], rstd[i], dx[i], partial[0], partial[1])


@parallel
def _rows(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, accumulate, partials):
    rows, threads = dy.shape[0], partials.shape[0]
    for thread in prange(threads):
        low, high = rows * thread // threads, rows * (thread + 1) // threads
        _share(low, high, dy, dresidual, residual, weight, mean, rstd, dx, partials[thread])
    add_up(partials[:, 0], dweight, accumulate)
    add_up(partials[:, 1], dbias, accumulate)


@register(RESIDUAL_LAYER_NORM_BACKWARD, workspace=lambda threads, N, C: threads * 2 * C)  # noqa: ARG005 (every dim is passed)
def numba_fused_rows(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate, workspace):
    threads, channels = get_num_threads(), weight.size
    partials = workspace[: threads * 2 * channels].reshape(threads, 2, channels)
    _rows(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, accumulate, partials)
