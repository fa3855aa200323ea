"""Strips of columns shared between threads, eight rows added at a time.

Builds on: numpy_sum, which reads and writes the result once for every row, on one thread.
Idea: a strip's sums stay in the first-level cache and are read and written once for every eight rows.
Source: the CUDA kernel matmul_backward_bias of karpathy/llm.c, whose thread blocks take strips of columns.
"""

import numpy as np
from numba import prange

from kernels.matmul.spec import MATMUL_BACKWARD_BIAS
from kernels.simd import jit, parallel
from registry import register

STRIP = 128  # columns: eight cache lines of a row


@jit
def _strip(dy, total):
    rows = dy.shape[0]
    eights = rows // 8 * 8
    for i in range(0, eights, 8):
        r0, r1, r2, r3, r4, r5, r6, r7 = dy[i], dy[i + 1], dy[i + 2], dy[i + 3], dy[i + 4], dy[i + 5], dy[i + 6], dy[i + 7]
        for j in range(total.size):
            total[j] += r0[j] + r1[j] + r2[j] + r3[j] + r4[j] + r5[j] + r6[j] + r7[j]
    for i in range(eights, rows):
        for j in range(total.size):
            total[j] += dy[i, j]


@parallel
def _backward(dy, dbias, accumulate):
    for strip in prange((dbias.size + STRIP - 1) // STRIP):
        here = slice(strip * STRIP, min((strip + 1) * STRIP, dbias.size))
        if not accumulate:
            dbias[here] = np.float32(0)
        _strip(dy[:, here], dbias[here])


@register(MATMUL_BACKWARD_BIAS, tiles={"O": (STRIP,), "N": (8,)})
def numba_columns(dy, dbias, *, accumulate):
    _backward(dy, dbias, accumulate)
