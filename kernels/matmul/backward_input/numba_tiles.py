"""Blocks of the gradient to which four rows of the weight are added at a time.

Builds on: numba_naive, which walks down the weight's columns and touches a cache line for every number.
Idea: add multiples of whole rows of the weight, four at a time to one load and store of the sum; four rows stay in the
    first-level cache while a block of the gradient takes them in. Blocks are shared between threads.
Source: M. Lam, E. Rothberg and M. Wolf, The cache performance and optimizations of blocked algorithms, ASPLOS IV (1991), 63-74.
Costs: a load for nearly every multiplication.
"""

import numpy as np
from numba import prange

from kernels.matmul.spec import MATMUL_BACKWARD_INPUT
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
def _block(dy, weight, dx, s):
    dx[:, s] = np.float32(0)
    depth = weight.shape[0]
    fours = depth // 4 * 4
    for k in range(0, fours, 4):
        b0, b1, b2, b3 = weight[k, s], weight[k + 1, s], weight[k + 2, s], weight[k + 3, s]
        for i in range(dx.shape[0]):
            _add_four(dx[i, s], dy[i, k], dy[i, k + 1], dy[i, k + 2], dy[i, k + 3], b0, b1, b2, b3)
    for k in range(fours, depth):
        for i in range(dx.shape[0]):
            _add_one(dx[i, s], dy[i, k], weight[k, s])


@parallel
def _backward(dy, weight, dx):
    across = (dx.shape[1] + COLUMNS - 1) // COLUMNS
    for block in prange((dx.shape[0] + ROWS - 1) // ROWS * across):
        i, j = block // across * ROWS, block % across * COLUMNS
        _block(dy[i : i + ROWS], weight, dx[i : i + ROWS], slice(j, min(j + COLUMNS, dx.shape[1])))


@register(MATMUL_BACKWARD_INPUT, tiles={"N": (ROWS,), "C": (COLUMNS,), "O": (4,)})
def numba_tiles(dy, weight, dx):
    _backward(dy, weight, dx)
