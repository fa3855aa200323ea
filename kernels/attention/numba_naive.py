"""Plain loops: for each query its scores, their softmax, the weighted sum of the values.

Idea: a query needs the scores of its own past only, so that one row of scratch memory serves them all.
Source: karpathy/llm.c, train_gpt2.c, attention_forward.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

import numpy as np

from kernels.attention.spec import ATTENTION
from kernels.simd import naive
from registry import register


@naive
def _attention(qkv_BTW, y_BTE, lse_BHT, scores_T):
    batch, heads, time = lse_BHT.shape
    channels = y_BTE.shape[2]
    size = channels // heads
    scale = np.float32(1 / math.sqrt(size))
    for b in range(batch):
        for h in range(heads):
            query, key, value = h * size, channels + h * size, 2 * channels + h * size
            for t in range(time):
                largest = np.float32(-np.inf)
                for s in range(t + 1):
                    dot = np.float32(0)
                    for d in range(size):
                        dot += qkv_BTW[b, t, query + d] * qkv_BTW[b, s, key + d]
                    scores_T[s] = dot * scale
                    largest = max(largest, scores_T[s])
                total = np.float32(0)
                for s in range(t + 1):
                    scores_T[s] = math.exp(scores_T[s] - largest)
                    total += scores_T[s]
                for d in range(size):
                    y_BTE[b, t, query + d] = 0
                for s in range(t + 1):
                    for d in range(size):
                        y_BTE[b, t, query + d] += scores_T[s] / total * qkv_BTW[b, s, value + d]
                lse_BHT[b, h, t] = largest + np.float32(math.log(total))


def _workspace(threads, B, T, H, D):  # noqa: ARG001 (all dims come; one thread)
    return T


@register(ATTENTION, workspace=_workspace)
def numba_naive(qkv, y, lse, *, num_heads, workspace):  # noqa: ARG001 (lse has as many)
    _attention(qkv, y, lse, workspace)
