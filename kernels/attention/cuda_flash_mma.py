"""Both products of a tile on tensor cores, at the accuracy of float32, with scores and sums in registers throughout.

Builds on: cuda_flash, whose multiplications run one by one, and whose weights go through shared memory.
Idea: a warp holds 16 queries, and the tensor cores return the scores of a tile as fragments, four lanes to a row. The scores
    become weights in place and are the left factors of the second product: their positions along k have another order, and
    the values are read in that order. Every factor is split into a tf32 and a tf32 of the remainder, and the products big *
    big, big * small and small * big are summed (3xTF32). Values are copied while keys are multiplied, and keys while values
    are multiplied. Tiles above the diagonal are left out, warp by warp.
Source: T. Dao, FlashAttention-2, arXiv:2307.08691; for the splitting, H. Ootomo and R. Yokota, IJHPCA 36 (2022),
    arXiv:2203.03341, and NVIDIA CUTLASS, example 27.
Costs: three products instead of one, and every warp splits keys and values again. The registers of queries, weights and sums
    leave an eighth of the threads resident for heads of 64; for heads of 96, some registers are spilled on sm_80. Scores that
    are not finite are computed again, one by one.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

_KERNELS = {head: CudaKernel(__file__, f"attention_flash_mma_{head}") for head in (32, 64, 96)}
QUERIES, KEYS, THREADS = 64, 32, 128  # as in flash_mma.cuh: 16 queries for each of four warps


def _refuses(*, D, **_):
    if max(_KERNELS) < D:
        yield f"heads of more than {max(_KERNELS)} numbers"


@register(ATTENTION, tiles={"T": (KEYS, QUERIES), "D": (8, *_KERNELS)}, refuses=_refuses)
def cuda_flash_mma(qkv, y, lse, *, num_heads):
    batch, time, size = *y.shape[:2], y.shape[2] // num_heads
    if y.size:
        kernel = _KERNELS[min(head for head in _KERNELS if head >= size)]
        grid = (ceil_div(time, QUERIES), batch * num_heads)
        launch(kernel, grid, THREADS, (qkv, y, lse, time, num_heads, size, 1 / math.sqrt(size)))
