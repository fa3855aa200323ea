"""One query at a time, every loop vectorised, heads shared between threads.

Builds on: numba_naive, whose dot products add one value at a time.
Idea: all loops run along the head, where the compiler may reorder a dot product. A head of one sequence belongs to one
    thread, which alone adds to its gradients, always in the same order.
Source: the loops of karpathy/llm.c, train_gpt2.c, attention_backward; the polynomial is kernels/simd/math.py.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

import numpy as np
from numba import prange

from kernels.attention.spec import ATTENTION_BACKWARD
from kernels.simd import jit, parallel
from kernels.simd.math import exp
from registry import register


@jit
def _dot(x_D, y_D):
    total = np.float32(0)
    for d in range(x_D.size):
        total += x_D[d] * y_D[d]
    return total


@jit
def _pair(dy_D, query_D, key_D, value_D, along, lse, scale, dquery_D, dkey_D, dvalue_D):
    p = exp(_dot(query_D, key_D) * scale - lse)
    ds = p * (_dot(dy_D, value_D) - along) * scale
    for d in range(query_D.size):
        dquery_D[d] += ds * key_D[d]
        dkey_D[d] += ds * query_D[d]
        dvalue_D[d] += p * dy_D[d]


@parallel
def _attention_backward(dy_BTE, qkv_BTW, y_BTE, lse_BHT, dqkv_BTW):
    batch, heads, time = lse_BHT.shape
    channels = y_BTE.shape[2]
    size = channels // heads
    scale = np.float32(1 / math.sqrt(size))
    for task in prange(batch * heads):
        b, h = task // heads, task % heads
        q = slice(h * size, h * size + size)
        k, v = slice(channels + q.start, channels + q.stop), slice(2 * channels + q.start, 2 * channels + q.stop)
        dqkv_BTW[b, :, q] = np.float32(0)
        dqkv_BTW[b, :, k] = np.float32(0)
        dqkv_BTW[b, :, v] = np.float32(0)
        for t in range(time):
            along = _dot(dy_BTE[b, t, q], y_BTE[b, t, q])
            for s in range(t + 1):
                _pair(
                    dy_BTE[b, t, q], qkv_BTW[b, t, q], qkv_BTW[b, s, k], qkv_BTW[b, s, v], along, lse_BHT[b, h, t], scale,
                    dqkv_BTW[b, t, q], dqkv_BTW[b, s, k], dqkv_BTW[b, s, v],
                )  # fmt: skip


@register(ATTENTION_BACKWARD)
def numba_rows(dy, qkv, y, lse, dqkv, *, num_heads):  # noqa: ARG001 (lse has as many)
    _attention_backward(dy, qkv, y, lse, dqkv)
