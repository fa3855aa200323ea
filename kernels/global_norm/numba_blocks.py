"""Threads share blocks of elements, with a partial sum for each block.

Builds on: numba_naive, in which each addition waits for the one before.
Idea: within a block the compiler keeps a vector of partial sums. The blocks, unlike the threads, are the same on every
    machine, so the number of threads does not change the result.
Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 4.2, on blocked sums.
Dims: K = gradients, G = blocks, L = gradients of a block.
"""

import numpy as np
from numba import prange

from kernels.global_norm.spec import GLOBAL_NORM
from kernels.simd import jit, parallel
from registry import register

BLOCK = 4096  # 16 KB: enough work for a thread, and a block stays in the first-level cache


@jit
def _squares(grad_L):
    total = np.float64(0)
    for k in range(grad_L.size):
        g = np.float64(grad_L[k])
        total += g * g
    return total


@parallel
def _blocks(grad_K, norm, workspace):
    blocks = (grad_K.size + BLOCK - 1) // BLOCK
    partials_G = workspace[: 2 * blocks].view(np.float64)
    for block in prange(blocks):
        low = block * BLOCK
        partials_G[block] = _squares(grad_K[low : min(low + BLOCK, grad_K.size)])
    total = np.float64(0)
    for block in range(blocks):
        total += partials_G[block]
    norm[0] = np.sqrt(total)


@register(GLOBAL_NORM, tiles={"K": (BLOCK,)}, workspace=lambda threads, K: 2 * (K // BLOCK + 1))  # noqa: ARG005 (always passed)
def numba_blocks(grad, norm, *, workspace):
    _blocks(grad, norm, workspace)
