"""Scores, softmax, weighted sum of the values: a kernel for each, with all scores in memory between them.

Idea: one thread for each number of each step: a score for each pair, a softmax for each query, a sum for each output.
Source: karpathy/llm.c, dev/cuda/attention_forward.cu, kernel 1.
Costs: a T x T matrix for each head, written twice and read four times; the threads of the upper triangle return at once.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_SCORES = CudaKernel(__file__, "attention_scores")
_SOFTMAX = CudaKernel(__file__, "attention_softmax")
_VALUES = CudaKernel(__file__, "attention_values")
THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors


def _workspace(_threads, *, B, T, H, D):  # noqa: ARG001 (all dims come)
    return B * H * T * T


@register(ATTENTION, dtypes=DTYPES, workspace=_workspace)
def cuda_naive(qkv, y, lse, *, num_heads, workspace):
    (batch, time, channels), size = y.shape, y.shape[2] // num_heads
    if not y.size:
        return
    rows, scale = batch * num_heads * time, 1 / math.sqrt(size)
    launch(_SCORES, ceil_div(rows * time, THREADS), THREADS, (qkv, workspace, batch, time, num_heads, size, scale))
    launch(_SOFTMAX, ceil_div(rows, THREADS), THREADS, (workspace, lse, batch, time, num_heads))
    grid = ceil_div(batch * time * channels, THREADS)
    launch(_VALUES, grid, THREADS, (qkv, workspace, y, batch, time, num_heads, size))
