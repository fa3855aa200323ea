"""Threads share the channels: each owns a band of columns of both tables.

Builds on: numba_naive, which has one thread, since two positions may hold the same token.
Idea: threads that own different columns never add to the same element. So nothing is atomic, and the order of summation is
    that of the positions for any number of threads.
Source: karpathy/llm.c needs a fixed order too, and sorts tokens into buckets (llmc/encoder.cuh); bands of columns need no
    sorting.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S, K = channels of a thread, A = rows of a table.
"""

import numpy as np
from numba import get_num_threads, prange

from kernels.embedding.spec import EMBEDDING_BACKWARD
from kernels.simd import jit, parallel
from registry import register

LINE = 16  # float32 in a cache line, which two threads must not share


@jit
def _add(dx_K, token_row_K, position_row_K):
    for c in range(dx_K.size):
        token_row_K[c] += dx_K[c]
        position_row_K[c] += dx_K[c]


@jit
def _band(tokens_BT, dx_BTC, dwte_RC, dwpe_LC, low, high):
    for b in range(dx_BTC.shape[0]):
        for t in range(dx_BTC.shape[1]):
            _add(dx_BTC[b, t, low:high], dwte_RC[tokens_BT[b, t], low:high], dwpe_LC[t, low:high])


@parallel
def _clear(table_AC):
    for row in prange(table_AC.shape[0]):
        table_AC[row] = np.float32(0)


@parallel
def _bands(tokens_BT, dx_BTC, dwte_RC, dwpe_LC, threads):
    channels = dx_BTC.shape[2]
    lines = (channels + LINE - 1) // LINE
    for thread in prange(threads):
        low, high = lines * thread // threads * LINE, min(lines * (thread + 1) // threads * LINE, channels)
        _band(tokens_BT, dx_BTC, dwte_RC, dwpe_LC, low, high)


@register(EMBEDDING_BACKWARD, tiles={"C": (LINE,)})
def numba_channels(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    if not accumulate_wte:
        _clear(dwte)
    if not accumulate_wpe:
        _clear(dwpe)
    _bands(tokens, dx, dwte, dwpe, get_num_threads())
