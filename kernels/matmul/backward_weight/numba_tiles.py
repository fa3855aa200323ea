"""Blocks of the gradient, to which four rows of x are added at a time.

Builds on: numba_naive, which reads the columns of both operands and touches two cache lines for every product.
Idea: add multiples of whole rows of x, four for one load and store of the sum. Four rows stay in the first-level cache while
    they are added to a block of the gradient. Threads share the blocks.
Source: M. Lam, E. Rothberg and M. Wolf, The cache performance and optimizations of blocked algorithms, ASPLOS IV (1991),
    63-74.
Costs: a load for nearly every multiplication.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np
from numba import prange

from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from kernels.simd import parallel
from kernels.simd.row_blocks import add_product
from registry import register

ROWS, COLUMNS = 32, 512  # of a block of the gradient: 64 KB, which stay in the second-level cache


@parallel
def _backward(dy_NO, x_NC, dweight_OC, accumulate):
    across = (dweight_OC.shape[1] + COLUMNS - 1) // COLUMNS
    for block in prange((dweight_OC.shape[0] + ROWS - 1) // ROWS * across):
        i, j = block // across * ROWS, block % across * COLUMNS
        rows, columns = slice(i, min(i + ROWS, dweight_OC.shape[0])), slice(j, min(j + COLUMNS, dweight_OC.shape[1]))
        if not accumulate:
            dweight_OC[rows, columns] = np.float32(0)
        add_product(dweight_OC[rows, columns], dy_NO[:, rows].T, x_NC[:, columns])


@register(MATMUL_BACKWARD_WEIGHT, tiles={"N": (4,), "O": (ROWS,), "C": (COLUMNS,)})
def numba_tiles(dy, x, dweight, *, accumulate):
    _backward(dy, x, dweight, accumulate)
