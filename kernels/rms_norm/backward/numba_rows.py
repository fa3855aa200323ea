"""Threads share the rows, and each thread sums dweight over its own rows.

Builds on: numba_naive, in which all rows add to one dweight.
Idea: the partial sums of a thread stay in its first cache. One thread adds them up at the end, in the order of the threads.
Source: kernels/layer_norm/backward/numba_rows.py, whose partial sums follow karpathy/llm.c, dev/cuda/layernorm_backward.cu.
Costs: workspace of one row for each thread; the last bits depend on the number of threads.
Dims: N = rows (batch x time), C = channels, P = threads.
"""

import numpy as np
from numba import get_num_threads, prange

from kernels.rms_norm.spec import RMS_NORM_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.partial_sums import add_up
from registry import register


@jit
def _row(dy_C, x_C, weight_C, rstd, dx_C, partial_C):
    along = np.float32(0)
    for j in range(x_C.size):
        along += dy_C[j] * weight_C[j] * (x_C[j] * rstd)
    along /= np.float32(x_C.size)
    for j in range(x_C.size):
        normed = x_C[j] * rstd
        dx_C[j] = (dy_C[j] * weight_C[j] - normed * along) * rstd
        partial_C[j] += dy_C[j] * normed


@jit
def _share(low, high, dy_NC, x_NC, weight_C, rstd_N, dx_NC, partial_C):
    partial_C[:] = np.float32(0)
    for i in range(low, high):
        _row(dy_NC[i], x_NC[i], weight_C, rstd_N[i], dx_NC[i], partial_C)


@parallel
def _rows(dy_NC, x_NC, weight_C, rstd_N, dx_NC, dweight_C, accumulate, partials_PC):
    rows, threads = x_NC.shape[0], partials_PC.shape[0]
    for thread in prange(threads):
        low, high = rows * thread // threads, rows * (thread + 1) // threads
        _share(low, high, dy_NC, x_NC, weight_C, rstd_N, dx_NC, partials_PC[thread])
    add_up(partials_PC, dweight_C, accumulate)


@register(RMS_NORM_BACKWARD, workspace=lambda threads, N, C: threads * C)  # noqa: ARG005 (every dim is passed)
def numba_rows(dy, x, weight, rstd, dx, dweight, *, accumulate, workspace):
    threads, channels = get_num_threads(), weight.size
    partials = workspace[: threads * channels].reshape(threads, channels)
    _rows(dy, x, weight, rstd, dx, dweight, accumulate, partials)
