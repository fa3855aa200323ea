"""Blocks of the gradient to which four rows of x are added at a time.

Builds on: numba_naive, which walks down the columns of both operands and touches two cache lines for every product.
Idea: add multiples of whole rows of x, four at a time to one load and store of the sum; four rows stay in the first-level
    cache while a block of the gradient takes them in. Blocks are shared between threads.
Source: M. Lam, E. Rothberg and M. Wolf, The cache performance and optimizations of blocked algorithms, ASPLOS IV (1991), 63-74.
Costs: a load for nearly every multiplication.
"""

import numpy as np
from numba import prange

from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from kernels.simd import jit, parallel
from registry import register

ROWS, COLUMNS = 32, 512  # of a block of the gradient


@jit
def _add_four(row, a0, a1, a2, a3, b0, b1, b2, b3):
    for j in range(row.size):
        row[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]


@jit
def _add_one(row, a, b):
    for j in range(row.size):
        row[j] += a * b[j]


@jit
def _block(dy, x, dweight, rows, s, accumulate):
    if not accumulate:
        dweight[rows, s] = np.float32(0)
    depth = x.shape[0]
    fours = depth // 4 * 4
    for k in range(0, fours, 4):
        b0, b1, b2, b3 = x[k, s], x[k + 1, s], x[k + 2, s], x[k + 3, s]
        for i in range(rows.start, rows.stop):
            _add_four(dweight[i, s], dy[k, i], dy[k + 1, i], dy[k + 2, i], dy[k + 3, i], b0, b1, b2, b3)
    for k in range(fours, depth):
        for i in range(rows.start, rows.stop):
            _add_one(dweight[i, s], dy[k, i], x[k, s])


@parallel
def _backward(dy, x, dweight, accumulate):
    across = (dweight.shape[1] + COLUMNS - 1) // COLUMNS
    for block in prange((dweight.shape[0] + ROWS - 1) // ROWS * across):
        i, j = block // across * ROWS, block % across * COLUMNS
        rows = slice(i, min(i + ROWS, dweight.shape[0]))
        _block(dy, x, dweight, rows, slice(j, min(j + COLUMNS, dweight.shape[1])), accumulate)


@register(MATMUL_BACKWARD_WEIGHT, tiles={"N": (4,), "O": (ROWS,), "C": (COLUMNS,)})
def numba_tiles(dy, x, dweight, *, accumulate):
    _backward(dy, x, dweight, accumulate)
