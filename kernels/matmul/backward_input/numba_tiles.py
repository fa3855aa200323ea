"""Blocks of the gradient to which four rows of the weight are added at a time.

Builds on: numba_naive, which walks down the weight's columns and touches a cache line for every number.
Idea: add multiples of whole rows of the weight, four at a time to one load and store of the sum; four rows stay in the
    first-level cache while a block of the gradient takes them in. Blocks are shared between threads.
Source: M. Lam, E. Rothberg and M. Wolf, The cache performance and optimizations of blocked algorithms, ASPLOS IV (1991), 63-74.
Costs: a load for nearly every multiplication.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np
from numba import prange

from kernels.matmul.spec import MATMUL_BACKWARD_INPUT
from kernels.simd import parallel
from kernels.simd.row_blocks import add_product
from registry import register

ROWS, COLUMNS = 32, 512  # of a block of the gradient: 64 KB, which stay in the second-level cache


@parallel
def _backward(dy_NO, weight_OC, dx_NC):
    across = (dx_NC.shape[1] + COLUMNS - 1) // COLUMNS
    for block in prange((dx_NC.shape[0] + ROWS - 1) // ROWS * across):
        i, j = block // across * ROWS, block % across * COLUMNS
        rows, columns = slice(i, min(i + ROWS, dx_NC.shape[0])), slice(j, min(j + COLUMNS, dx_NC.shape[1]))
        dx_NC[rows, columns] = np.float32(0)
        add_product(dx_NC[rows, columns], dy_NO[rows], weight_OC[:, columns])


@register(MATMUL_BACKWARD_INPUT, tiles={"N": (ROWS,), "C": (COLUMNS,), "O": (4,)})
def numba_tiles(dy, weight, dx):
    _backward(dy, weight, dx)
