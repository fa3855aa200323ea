"""Channels shared between threads: each owns a band of columns of both tables.

Builds on: numba_naive, which is one thread, since two positions may hold the same token.
Idea: threads that own different columns never meet, so that nothing is atomic and the order of summation is that of the
    positions, whatever the number of threads.
Source: the same need of a fixed order made karpathy/llm.c sort tokens into buckets (llmc/encoder.cuh); bands of columns
    need no sorting.
"""

import numpy as np
from numba import get_num_threads, prange

from kernels.embedding.spec import EMBEDDING_BACKWARD
from kernels.simd import jit, parallel
from registry import register

LINE = 16  # float32 in a cache line, which two threads must not share


@jit
def _add(dx, token_row, position_row):
    for c in range(dx.size):
        token_row[c] += dx[c]
        position_row[c] += dx[c]


@jit
def _band(tokens, dx, dwte, dwpe, low, high):
    for b in range(dx.shape[0]):
        for t in range(dx.shape[1]):
            _add(dx[b, t, low:high], dwte[tokens[b, t], low:high], dwpe[t, low:high])


@parallel
def _clear(table):
    for row in prange(table.shape[0]):
        table[row] = np.float32(0)


@parallel
def _bands(tokens, dx, dwte, dwpe, threads):
    channels = dx.shape[2]
    lines = (channels + LINE - 1) // LINE
    for thread in prange(threads):
        low, high = lines * thread // threads * LINE, min(lines * (thread + 1) // threads * LINE, channels)
        _band(tokens, dx, dwte, dwpe, low, high)


@register(EMBEDDING_BACKWARD, tiles={"C": (LINE,)})
def numba_channels(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    if not accumulate_wte:
        _clear(dwte)
    if not accumulate_wpe:
        _clear(dwpe)
    _bands(tokens, dx, dwte, dwpe, get_num_threads())
