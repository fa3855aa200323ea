"""Threads share the rows, and each thread sums the parameter gradients of its own rows.

Builds on: numba_naive, in which all rows add to one dweight and one dbias.
Idea: the partial sums of a thread stay in its first cache. One thread adds them up at the end, in the order of the threads.
Source: the partial sums follow the layernorm_backward ladder of karpathy/llm.c, dev/cuda/layernorm_backward.cu.
Costs: workspace of two rows for each thread; the last bits depend on the number of threads.
Dims: N = rows (batch x time), C = channels, P = threads.
"""

import numpy as np
from numba import get_num_threads, prange

from kernels.layer_norm.spec import LAYER_NORM_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.partial_sums import add_up
from registry import register


@jit
def _row(dy_C, x_C, weight_C, mean, rstd, dx_C, dweight_C, dbias_C):
    total = np.float32(0)
    along = np.float32(0)
    for j in range(x_C.size):
        dnormed = dy_C[j] * weight_C[j]
        total += dnormed
        along += dnormed * ((x_C[j] - mean) * rstd)
    total /= np.float32(x_C.size)
    along /= np.float32(x_C.size)
    for j in range(x_C.size):
        normed = (x_C[j] - mean) * rstd
        dx_C[j] = (dy_C[j] * weight_C[j] - total - normed * along) * rstd
        dweight_C[j] += dy_C[j] * normed
        dbias_C[j] += dy_C[j]


@jit
def _share(low, high, dy_NC, x_NC, weight_C, mean_N, rstd_N, dx_NC, partial_2C):
    partial_2C[:] = np.float32(0)
    for i in range(low, high):
        _row(dy_NC[i], x_NC[i], weight_C, mean_N[i], rstd_N[i], dx_NC[i], partial_2C[0], partial_2C[1])


@parallel
def _rows(dy_NC, x_NC, weight_C, mean_N, rstd_N, dx_NC, dweight_C, dbias_C, accumulate, partials_P2C):
    rows, threads = x_NC.shape[0], partials_P2C.shape[0]
    for thread in prange(threads):
        low, high = rows * thread // threads, rows * (thread + 1) // threads
        _share(low, high, dy_NC, x_NC, weight_C, mean_N, rstd_N, dx_NC, partials_P2C[thread])
    add_up(partials_P2C[:, 0], dweight_C, accumulate)
    add_up(partials_P2C[:, 1], dbias_C, accumulate)


@register(LAYER_NORM_BACKWARD, workspace=lambda threads, N, C: threads * 2 * C)  # noqa: ARG005 (every dim is passed)
def numba_rows(dy, x, weight, mean, rstd, dx, dweight, dbias, *, accumulate, workspace):
    threads, channels = get_num_threads(), weight.size
    partials_P2C = workspace[: threads * 2 * channels].reshape(threads, 2, channels)
    _rows(dy, x, weight, mean, rstd, dx, dweight, dbias, accumulate, partials_P2C)
