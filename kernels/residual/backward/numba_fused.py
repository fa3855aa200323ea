"""Both gradients in one flat loop, cut between threads.

Builds on: numba_naive, which is one thread and asks at each element whether to accumulate.
Idea: dy is read once for both gradients, where two calls of a library would read it twice.
Source: the fused residual of karpathy/llm.c, llmc/layernorm.cuh, saves the same second read.
"""

from numba import prange

from kernels.residual.spec import RESIDUAL_BACKWARD
from kernels.simd import parallel
from registry import register


@parallel
def _fused(dy, dx1, dx2, accumulate):
    dy, dx1, dx2 = dy.reshape(-1), dx1.reshape(-1), dx2.reshape(-1)
    if accumulate:
        for i in prange(dy.size):
            dx1[i] += dy[i]
            dx2[i] += dy[i]
    else:
        for i in prange(dy.size):
            dx1[i] = dy[i]
            dx2[i] = dy[i]


@register(RESIDUAL_BACKWARD)
def numba_fused(dy, dx1, dx2, *, accumulate):
    _fused(dy, dx1, dx2, accumulate)
