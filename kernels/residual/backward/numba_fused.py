"""Both gradients in one loop over all elements, whose range the threads share.

Builds on: numba_naive, which has one thread and tests at each element whether to accumulate.
Idea: dy is read once for both gradients; two library calls would read it twice.
Source: the fused residual of karpathy/llm.c, llmc/layernorm.cuh, avoids the same second read.
Dims: N = rows (batch x time), C = channels, M = N x C.
"""

from numba import prange

from kernels.residual.spec import RESIDUAL_BACKWARD
from kernels.simd import parallel
from registry import register


@parallel
def _fused(dy_NC, dx1_NC, dx2_NC, accumulate):
    dy_M, dx1_M, dx2_M = dy_NC.reshape(-1), dx1_NC.reshape(-1), dx2_NC.reshape(-1)
    if accumulate:
        for i in prange(dy_M.size):
            dx1_M[i] += dy_M[i]
            dx2_M[i] += dy_M[i]
    else:
        for i in prange(dy_M.size):
            dx1_M[i] = dy_M[i]
            dx2_M[i] = dy_M[i]


@register(RESIDUAL_BACKWARD)
def numba_fused(dy, dx1, dx2, *, accumulate):
    _fused(dy, dx1, dx2, accumulate)
