"""Small tiles of dot products, over blocks of the weight that stay in the cache.

Builds on: numba_naive, which loads two numbers for every multiplication.
Idea: eight dot products at once share their loads: two rows of x times four rows of the weight. A block of rows of the weight
    is used for all rows of x before the next block. Threads share the blocks. Each sum is a vector of partial sums.
Source: M. Lam, E. Rothberg and M. Wolf, The cache performance and optimizations of blocked algorithms, ASPLOS IV (1991),
    63-74.
Costs: six loads for eight multiplications.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np
from numba import prange

from kernels.matmul.spec import MATMUL
from kernels.simd import jit, parallel
from registry import register

BLOCK = 64  # rows of the weight: with 768 channels 192 KB, which fit the second-level cache


@jit
def _tile(x0_C, x1_C, w0_C, w1_C, w2_C, w3_C):
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = np.float32(0)
    for k in range(x0_C.size):
        s00 += x0_C[k] * w0_C[k]
        s01 += x0_C[k] * w1_C[k]
        s02 += x0_C[k] * w2_C[k]
        s03 += x0_C[k] * w3_C[k]
        s10 += x1_C[k] * w0_C[k]
        s11 += x1_C[k] * w1_C[k]
        s12 += x1_C[k] * w2_C[k]
        s13 += x1_C[k] * w3_C[k]
    return (s00, s01, s02, s03), (s10, s11, s12, s13)


@parallel
def _matmul(x_NC, weight_OC, bias_O, y_NO):
    rows, columns = y_NO.shape
    for block in prange((columns + BLOCK - 1) // BLOCK):
        end = min((block + 1) * BLOCK, columns)
        for i in range(0, rows, 2):
            i1 = min(i + 1, rows - 1)  # a ragged tile holds its last row twice
            for j in range(block * BLOCK, end, 4):
                j1, j2, j3 = min(j + 1, end - 1), min(j + 2, end - 1), min(j + 3, end - 1)
                upper, lower = _tile(x_NC[i], x_NC[i1], weight_OC[j], weight_OC[j1], weight_OC[j2], weight_OC[j3])
                for place, column in enumerate((j, j1, j2, j3)):
                    y_NO[i, column] = upper[place] + bias_O[column]
                    y_NO[i1, column] = lower[place] + bias_O[column]


@register(MATMUL, tiles={"N": (2,), "O": (4, BLOCK)})
def numba_tiles(x, weight, bias, y):
    _matmul(x, weight, bias, y)
