"""Plain loops: for each query its probabilities, computed again, then its share of all three gradients.

Idea: the probabilities follow from the scores and the saved log-sum-exp, so no T x T matrix is stored. The dot product of the
    softmax, sum(dp * p), equals sum(dy * y), whose terms are stored already.
Source: the loops of karpathy/llm.c, train_gpt2.c, attention_backward; T. Dao et al., FlashAttention, arXiv:2205.14135,
    appendix B.2, for the two shortcuts.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

import numpy as np

from kernels.attention.spec import ATTENTION_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _attention_backward(dy_BTE, qkv_BTW, y_BTE, lse_BHT, dqkv_BTW):
    batch, heads, time = lse_BHT.shape
    channels = y_BTE.shape[2]
    size = channels // heads
    scale = np.float32(1 / math.sqrt(size))
    dqkv_BTW[:] = 0
    for b in range(batch):
        for h in range(heads):
            query, key, value = h * size, channels + h * size, 2 * channels + h * size
            for t in range(time):
                along = np.float32(0)
                for d in range(size):
                    along += dy_BTE[b, t, query + d] * y_BTE[b, t, query + d]
                for s in range(t + 1):
                    dot, dp = np.float32(0), np.float32(0)
                    for d in range(size):
                        dot += qkv_BTW[b, t, query + d] * qkv_BTW[b, s, key + d]
                        dp += dy_BTE[b, t, query + d] * qkv_BTW[b, s, value + d]
                    p = np.float32(math.exp(dot * scale - lse_BHT[b, h, t]))
                    ds = p * (dp - along) * scale
                    for d in range(size):
                        dqkv_BTW[b, t, query + d] += ds * qkv_BTW[b, s, key + d]
                        dqkv_BTW[b, s, key + d] += ds * qkv_BTW[b, t, query + d]
                        dqkv_BTW[b, s, value + d] += p * dy_BTE[b, t, query + d]


@register(ATTENTION_BACKWARD)
def numba_naive(dy, qkv, y, lse, dqkv, *, num_heads):  # noqa: ARG001 (lse has as many)
    _attention_backward(dy, qkv, y, lse, dqkv)
