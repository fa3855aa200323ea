"""Tiles of pairs whose probabilities follow from the log-sum-exp; no T x T matrix, and no atomics.

Builds on: cuda_naive, which writes and reads two T x T matrices for each head.
Idea: one kernel keeps 32 queries and reads the keys before them, another keeps 32 keys and values and reads the queries after
    them. Each sum belongs to one thread, which adds in one order, so that two results agree to the bit. A third kernel runs
    first and stores sum(dy * y) of each query. kernels/cuda/attention_tile.cuh.
Source: T. Dao et al., FlashAttention, arXiv:2205.14135, appendix B.2; the two passes instead of atomic additions are those of
    P. Tillet's Triton tutorial 06, fused attention.
Costs: the scores and dp of a tile are computed twice, seven products instead of five. Three tiles in shared memory and the
    registers of two sums keep the number of resident threads low, and a few registers are spilled on sm_80. Tiles share one
    place in shared memory, with a barrier for each change, and the queries are loaded twice.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION_BACKWARD
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_ALONG = CudaKernel(__file__, "attention_backward_along")
_QUERIES = {head: CudaKernel(__file__, f"attention_backward_queries_{head}") for head in (32, 64, 96)}
_KEYS = {head: CudaKernel(__file__, f"attention_backward_keys_{head}") for head in (32, 64, 96)}
TILE, THREADS, WARP = 32, 128, 32  # as in attention_tile.cuh


def _refuses(*, D, **_):
    if max(_KEYS) < D:
        yield f"heads of more than {max(_KEYS)} numbers"


def _workspace(_threads, *, B, T, H, D):  # noqa: ARG001 (all dims come)
    return B * H * T


@register(ATTENTION_BACKWARD, dtypes=DTYPES, workspace=_workspace, tiles={"T": (TILE,), "D": tuple(_KEYS)}, refuses=_refuses)
def cuda_flash(dy, qkv, y, lse, dqkv, *, num_heads, workspace):
    batch, time, size = *y.shape[:2], y.shape[2] // num_heads
    if not y.size:
        return
    along = workspace[: lse.size]
    launch(_ALONG, ceil_div(lse.size * WARP, THREADS), THREADS, (dy, y, along, batch, time, num_heads, size))
    head = min(head for head in _KEYS if head >= size)
    grid = (ceil_div(time, TILE), batch * num_heads)
    for kernel in (_QUERIES[head], _KEYS[head]):
        launch(kernel, grid, THREADS, (dy, qkv, lse, along, dqkv, time, num_heads, size, 1 / math.sqrt(size)))
