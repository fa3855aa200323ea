"""Threads share the positions; each position is the sum of two rows, added as vectors.

Builds on: numba_naive, which has one thread and looks the token up again for each channel.
Idea: the token is looked up once for each position. The rest is a sum of contiguous arrays.
Source: the GPU kernel of karpathy/llm.c, llmc/encoder.cuh, encoder_forward, which gives positions to threads likewise.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

from numba import prange

from kernels.embedding.spec import EMBEDDING
from kernels.simd import jit, parallel
from registry import register


@jit
def _add(token_row_C, position_row_C, x_C):
    for c in range(x_C.size):
        x_C[c] = token_row_C[c] + position_row_C[c]


@parallel
def _rows(tokens_BT, wte_RC, wpe_LC, x_BTC):
    batch, time, _ = x_BTC.shape
    for i in prange(batch * time):
        b, t = i // time, i % time
        _add(wte_RC[tokens_BT[b, t]], wpe_LC[t], x_BTC[b, t])


@register(EMBEDDING)
def numba_rows(tokens, wte, wpe, x):
    _rows(tokens, wte, wpe, x)
