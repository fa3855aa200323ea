"""Probabilities and the gradients of the scores, then three sums: two kernels, with both matrices in memory between them.

Idea: one thread for each number of each step: first a pair of query and key, then an element of the gradient. The
    probabilities follow from the saved log-sum-exp, and the dot product of the softmax, sum(dp * p), equals sum(dy * y).
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, attention_backward, for the steps (every version in
    dev/cuda/attention_backward.cu leaves the products to cuBLAS); T. Dao et al., FlashAttention, arXiv:2205.14135, appendix
    B.2, for the two shortcuts.
Costs: two T x T matrices for each head; sum(dy * y) is computed again for every pair.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION_BACKWARD
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_SCORES = CudaKernel(__file__, "attention_backward_scores")
_SUMS = CudaKernel(__file__, "attention_backward_sums")
THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors


def _workspace(_threads, *, B, T, H, D):  # noqa: ARG001 (all dims come)
    return 2 * B * H * T * T


@register(ATTENTION_BACKWARD, dtypes=DTYPES, workspace=_workspace)
def cuda_naive(dy, qkv, y, lse, dqkv, *, num_heads, workspace):
    (batch, time, channels), size = y.shape, y.shape[2] // num_heads
    if not y.size:
        return
    pairs = batch * num_heads * time * time
    p, ds = workspace[:pairs], workspace[pairs : 2 * pairs]
    shape = (batch, time, num_heads, size)
    launch(_SCORES, ceil_div(pairs, THREADS), THREADS, (dy, qkv, y, lse, p, ds, *shape, 1 / math.sqrt(size)))
    launch(_SUMS, ceil_div(batch * time * 3 * channels, THREADS), THREADS, (dy, qkv, p, ds, dqkv, *shape))
