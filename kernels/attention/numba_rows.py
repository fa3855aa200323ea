"""One query at a time, every loop vectorised, heads shared between threads.

Builds on: numba_naive, whose dot products add one value at a time.
Idea: the dot product of a score may be summed in any order, and the weighted sum goes over whole rows of values, so that
    both run along the head; the exponential is a polynomial. A thread keeps one row of scores.
Source: the loops of karpathy/llm.c, train_gpt2.c, attention_forward; the polynomial is kernels/simd/math.py.
"""

import math

import numpy as np
from numba import get_num_threads, prange

from kernels.attention.spec import ATTENTION
from kernels.simd import jit, parallel
from kernels.simd.math import exp, log
from registry import register


@jit
def _dot(x, y):
    total = np.float32(0)
    for d in range(x.size):
        total += x[d] * y[d]
    return total


@jit
def _query(query, rows, key, value, scale, output, scores):
    size = query.size
    largest = np.float32(-np.inf)
    for s in range(rows.shape[0]):
        scores[s] = _dot(query, rows[s, key : key + size]) * scale
        largest = max(largest, scores[s])
    total = np.float32(0)
    for s in range(rows.shape[0]):
        scores[s] = exp(scores[s] - largest)
        total += scores[s]
    output[:] = np.float32(0)
    for s in range(rows.shape[0]):
        weight = scores[s] / total
        seen = rows[s, value : value + size]
        for d in range(size):
            output[d] += weight * seen[d]
    return largest + log(total)


@parallel
def _attention(qkv, y, lse, workspace):
    batch, heads, time = lse.shape
    channels = y.shape[2]
    size = channels // heads
    scale = np.float32(1 / math.sqrt(size))
    slots, tasks = workspace.shape[0], batch * heads
    for slot in prange(slots):
        for task in range(slot * tasks // slots, (slot + 1) * tasks // slots):
            b, h = task // heads, task % heads
            query = h * size
            for t in range(time):
                rows, mine = qkv[b, : t + 1], slice(query, query + size)
                lse[b, h, t] = _query(
                    qkv[b, t, mine], rows, channels + query, 2 * channels + query, scale, y[b, t, mine], workspace[slot]
                )


def _workspace(threads, B, T, H, D):  # noqa: ARG001 (all dims come)
    return threads * T


@register(ATTENTION, workspace=_workspace)
def numba_rows(qkv, y, lse, *, num_heads, workspace):  # noqa: ARG001 (lse has as many)
    slots = get_num_threads()
    _attention(qkv, y, lse, workspace[: slots * qkv.shape[1]].reshape(slots, qkv.shape[1]))
