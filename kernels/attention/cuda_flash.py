"""Attention in tiles of queries and keys with a running softmax: the T x T matrix of scores never exists.

Builds on: cuda_naive, which writes and reads a T x T matrix for each head.
Idea: a block keeps 32 queries, their sums and their softmax so far, and reads 32 keys and values at a time. Where a new score
    is larger than all earlier ones, the earlier sums are rescaled. A thread has 2 x 4 scores of a tile, so that six 128-bit
    loads from shared memory feed 32 multiplications. The eight lanes of a row find its maximum by shuffles. Tiles above the
    diagonal are left out. kernels/cuda/attention_tile.cuh.
Source: T. Dao et al., FlashAttention, arXiv:2205.14135; the running softmax is of M. Milakov and N. Gimelshein,
    arXiv:1805.02867.
Costs: heads are rounded up to 32, 64 or 96 numbers. Keys and values share one tile of shared memory, which takes four
    barriers for each pair of tiles. Every query tile reads all earlier keys and values again. For heads of 96 in bfloat16,
    five registers are spilled on sm_90.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNELS = {head: CudaKernel(__file__, f"attention_flash_{head}") for head in (32, 64, 96)}
TILE, THREADS = 32, 128  # as in attention_tile.cuh


def _refuses(*, D, **_):
    if max(_KERNELS) < D:
        yield f"heads of more than {max(_KERNELS)} numbers"


@register(ATTENTION, dtypes=DTYPES, tiles={"T": (TILE,), "D": tuple(_KERNELS)}, refuses=_refuses)
def cuda_flash(qkv, y, lse, *, num_heads):
    batch, time, size = *y.shape[:2], y.shape[2] // num_heads
    if y.size:
        kernel = _KERNELS[min(head for head in _KERNELS if head >= size)]
        grid = (ceil_div(time, TILE), batch * num_heads)
        launch(kernel, grid, THREADS, (qkv, y, lse, time, num_heads, size, 1 / math.sqrt(size)))
