"""Rows shared between threads; every thread sums the parameter gradients of its own rows.

Builds on: numba_naive, in which all rows add to one dweight and one dbias.
Idea: a thread's partial sums stay in its first cache, and are added up in the order of the threads at the end.
Source: the partial sums follow the layernorm_backward ladder of karpathy/llm.c, dev/cuda/layernorm_backward.cu.
Costs: workspace of two rows for each thread; the last bits depend on the number of threads.
"""

import numpy as np
from numba import get_num_threads, prange

from kernels.layer_norm.spec import LAYER_NORM_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.partial_sums import add_up
from registry import register


@jit
def _row(dy, x, weight, mean, rstd, dx, dweight, dbias):
    total = np.float32(0)
    along = np.float32(0)
    for j in range(x.size):
        dnormed = dy[j] * weight[j]
        total += dnormed
        along += dnormed * ((x[j] - mean) * rstd)
    total /= np.float32(x.size)
    along /= np.float32(x.size)
    for j in range(x.size):
        normed = (x[j] - mean) * rstd
        dx[j] = (dy[j] * weight[j] - total - normed * along) * rstd
        dweight[j] += dy[j] * normed
        dbias[j] += dy[j]


@jit
def _share(low, high, dy, x, weight, mean, rstd, dx, partial):
    partial[:] = np.float32(0)
    for i in range(low, high):
        _row(dy[i], x[i], weight, mean[i], rstd[i], dx[i], partial[0], partial[1])


@parallel
def _rows(dy, x, weight, mean, rstd, dx, dweight, dbias, accumulate, partials):
    rows, threads = x.shape[0], partials.shape[0]
    for thread in prange(threads):
        low, high = rows * thread // threads, rows * (thread + 1) // threads
        _share(low, high, dy, x, weight, mean, rstd, dx, partials[thread])
    add_up(partials[:, 0], dweight, accumulate)
    add_up(partials[:, 1], dbias, accumulate)


@register(LAYER_NORM_BACKWARD, workspace=lambda threads, N, C: threads * 2 * C)  # noqa: ARG005 (every dim is passed)
def numba_rows(dy, x, weight, mean, rstd, dx, dweight, dbias, *, accumulate, workspace):
    threads, channels = get_num_threads(), weight.size
    partials = workspace[: threads * 2 * channels].reshape(threads, 2, channels)
    _rows(dy, x, weight, mean, rstd, dx, dweight, dbias, accumulate, partials)
