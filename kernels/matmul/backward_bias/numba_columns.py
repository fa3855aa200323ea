"""Threads share strips of columns, and add eight rows at a time.

Builds on: numpy_sum, which reads and writes the result once for every row, on one thread.
Idea: the sums of a strip stay in the first-level cache and are read and written once for every eight rows, which are added in
    pairs. A strip of a row is a slice of its own, so the compiler knows that its elements are contiguous.
Source: the CUDA kernel matmul_backward_bias of karpathy/llm.c, whose thread blocks take strips of columns.
Dims: N = rows (batch x time), O = output channels, S = columns of a strip.
"""

import numba
import numpy as np
from numba import prange

from kernels.matmul.spec import MATMUL_BACKWARD_BIAS
from kernels.simd import jit, parallel
from registry import register

LONGEST = 384  # columns of a strip: its sums take 1.5 KB of the first-level cache
LINE = 16  # floats of a cache line, which two threads must not share


@jit
def _add(total_S, r0, r1, r2, r3, r4, r5, r6, r7):
    for j in range(total_S.size):
        total_S[j] += ((r0[j] + r1[j]) + (r2[j] + r3[j])) + ((r4[j] + r5[j]) + (r6[j] + r7[j]))


@jit
def _strip(dy_NO, s, total_S):
    eights = dy_NO.shape[0] // 8 * 8
    for i in range(0, eights, 8):
        upper = dy_NO[i, s], dy_NO[i + 1, s], dy_NO[i + 2, s], dy_NO[i + 3, s]
        lower = dy_NO[i + 4, s], dy_NO[i + 5, s], dy_NO[i + 6, s], dy_NO[i + 7, s]
        _add(total_S, *upper, *lower)
    for i in range(eights, dy_NO.shape[0]):
        row = dy_NO[i, s]
        for j in range(total_S.size):
            total_S[j] += row[j]


@parallel
def _backward(dy_NO, dbias_O, accumulate, width):
    for strip in prange((dbias_O.size + width - 1) // width):
        here = slice(strip * width, min((strip + 1) * width, dbias_O.size))
        if not accumulate:
            dbias_O[here] = np.float32(0)
        _strip(dy_NO, here, dbias_O[here])


@register(MATMUL_BACKWARD_BIAS, tiles={"O": (LINE, LONGEST), "N": (8,)})
def numba_columns(dy, dbias, *, accumulate):
    lines = -(-dbias.size // (numba.get_num_threads() * LINE))
    _backward(dy, dbias, accumulate, min(max(lines, 1) * LINE, LONGEST))
