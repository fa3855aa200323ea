"""One query at a time, every loop vectorised, heads shared between threads.

Builds on: numba_naive, whose dot products add one value at a time.
Idea: the compiler may reorder the sum of a dot product, and the weighted sum adds whole rows of values, so both loops run
    along the head. The exponential is a polynomial. A thread keeps one row of scores.
Source: the loops of karpathy/llm.c, train_gpt2.c, attention_forward; the polynomial is kernels/simd/math.py.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E, P = threads.
"""

import math

import numpy as np
from numba import get_num_threads, prange

from kernels.attention.spec import ATTENTION
from kernels.simd import jit, parallel
from kernels.simd.math import exp, log
from registry import register


@jit
def _dot(x_D, y_D):
    total = np.float32(0)
    for d in range(x_D.size):
        total += x_D[d] * y_D[d]
    return total


@jit
def _query(query_D, rows_TW, key, value, scale, output_D, scores_T):
    size = query_D.size
    largest = np.float32(-np.inf)
    for s in range(rows_TW.shape[0]):
        scores_T[s] = _dot(query_D, rows_TW[s, key : key + size]) * scale
        largest = max(largest, scores_T[s])
    total = np.float32(0)
    for s in range(rows_TW.shape[0]):
        scores_T[s] = exp(scores_T[s] - largest)
        total += scores_T[s]
    output_D[:] = np.float32(0)
    for s in range(rows_TW.shape[0]):
        weight = scores_T[s] / total
        value_D = rows_TW[s, value : value + size]
        for d in range(size):
            output_D[d] += weight * value_D[d]
    return largest + log(total)


@parallel
def _attention(qkv_BTW, y_BTE, lse_BHT, workspace_PT):
    batch, heads, time = lse_BHT.shape
    channels = y_BTE.shape[2]
    size = channels // heads
    scale = np.float32(1 / math.sqrt(size))
    slots, tasks = workspace_PT.shape[0], batch * heads
    for slot in prange(slots):
        for task in range(slot * tasks // slots, (slot + 1) * tasks // slots):
            b, h = task // heads, task % heads
            query = h * size
            for t in range(time):
                rows_TW, mine = qkv_BTW[b, : t + 1], slice(query, query + size)
                lse_BHT[b, h, t] = _query(
                    qkv_BTW[b, t, mine],
                    rows_TW,
                    channels + query,
                    2 * channels + query,
                    scale,
                    y_BTE[b, t, mine],
                    workspace_PT[slot],
                )


def _workspace(threads, B, T, H, D):  # noqa: ARG001 (all dims come)
    return threads * T


@register(ATTENTION, workspace=_workspace)
def numba_rows(qkv, y, lse, *, num_heads, workspace):  # noqa: ARG001 (lse has as many)
    slots = get_num_threads()
    _attention(qkv, y, lse, workspace[: slots * qkv.shape[1]].reshape(slots, qkv.shape[1]))
