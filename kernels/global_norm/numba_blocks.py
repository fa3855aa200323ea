"""Blocks of elements shared between threads, a partial sum for each block.

Builds on: numba_naive, in which each addition waits for the one before.
Idea: within a block the compiler keeps a vector of partial sums; blocks, unlike threads, are cut the same way on every
    machine, so that the number of threads does not change the result.
Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 4.2, on blocked sums.
"""

import numpy as np
from numba import prange

from kernels.global_norm.spec import GLOBAL_NORM
from kernels.simd import jit, parallel
from registry import register

BLOCK = 4096


@jit
def _squares(grad):
    total = np.float64(0)
    for k in range(grad.size):
        g = np.float64(grad[k])
        total += g * g
    return total


@parallel
def _blocks(grad, norm, workspace):
    blocks = (grad.size + BLOCK - 1) // BLOCK
    partials = workspace[: 2 * blocks].view(np.float64)
    for block in prange(blocks):
        low = block * BLOCK
        partials[block] = _squares(grad[low : min(low + BLOCK, grad.size)])
    total = np.float64(0)
    for block in range(blocks):
        total += partials[block]
    norm[0] = np.sqrt(total)


@register(GLOBAL_NORM, tiles={"K": (BLOCK,)}, workspace=lambda threads, K: 2 * (K // BLOCK + 1))  # noqa: ARG005 (always passed)
def numba_blocks(grad, norm, *, workspace):
    _blocks(grad, norm, workspace)
