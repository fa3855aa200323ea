"""Positions shared between threads, each the sum of two rows taken as vectors.

Builds on: numba_naive, which is one thread and looks the token up again for each channel.
Idea: once both rows are found, what is left is a sum of contiguous arrays.
Source: the GPU kernel of karpathy/llm.c, llmc/encoder.cuh, encoder_forward, which gives positions to threads likewise.
"""

from numba import prange

from kernels.embedding.spec import EMBEDDING
from kernels.simd import jit, parallel
from registry import register


@jit
def _add(token_row, position_row, x):
    for c in range(x.size):
        x[c] = token_row[c] + position_row[c]


@parallel
def _rows(tokens, wte, wpe, x):
    batch, time, _ = x.shape
    for i in prange(batch * time):
        b, t = i // time, i % time
        _add(wte[tokens[b, t]], wpe[t], x[b, t])


@register(EMBEDDING)
def numba_rows(tokens, wte, wpe, x):
    _rows(tokens, wte, wpe, x)
