"""One query at a time, every loop vectorised, heads shared between threads.

Builds on: numba_naive, whose dot products add one value at a time.
Idea: all loops run along the head, where dot products may be summed in any order; a head of one sequence belongs to one
    thread, which alone adds to its gradients, always in the same order.
Source: the loops of karpathy/llm.c, train_gpt2.c, attention_backward; the polynomial is kernels/simd/math.py.
"""

import math

import numpy as np
from numba import prange

from kernels.attention.spec import ATTENTION_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.math import exp
from registry import register


@jit
def _dot(x, y):
    total = np.float32(0)
    for d in range(x.size):
        total += x[d] * y[d]
    return total


@jit
def _pair(dy, query, key, value, along, lse, scale, dquery, dkey, dvalue):
    p = exp(_dot(query, key) * scale - lse)
    ds = p * (_dot(dy, value) - along) * scale
    for d in range(query.size):
        dquery[d] += ds * key[d]
        dkey[d] += ds * query[d]
        dvalue[d] += p * dy[d]


@parallel
def _attention_backward(dy, qkv, y, lse, dqkv):
    batch, heads, time = lse.shape
    channels = y.shape[2]
    size = channels // heads
    scale = np.float32(1 / math.sqrt(size))
    for task in prange(batch * heads):
        b, h = task // heads, task % heads
        q = slice(h * size, h * size + size)
        k, v = slice(channels + q.start, channels + q.stop), slice(2 * channels + q.start, 2 * channels + q.stop)
        dqkv[b, :, q] = np.float32(0)
        dqkv[b, :, k] = np.float32(0)
        dqkv[b, :, v] = np.float32(0)
        for t in range(time):
            along = _dot(dy[b, t, q], y[b, t, q])
            for s in range(t + 1):
                _pair(
                    dy[b, t, q], qkv[b, t, q], qkv[b, s, k], qkv[b, s, v], along, lse[b, h, t], scale,
                    dqkv[b, t, q], dqkv[b, s, k], dqkv[b, s, v],
                )  # fmt: skip


@register(ATTENTION_BACKWARD)
def numba_rows(dy, qkv, y, lse, dqkv, *, num_heads):  # noqa: ARG001 (lse has as many)
    _attention_backward(dy, qkv, y, lse, dqkv)
