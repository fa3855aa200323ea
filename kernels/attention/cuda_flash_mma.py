"""Both products of a tile on tensor cores, at the accuracy of float32, with scores and sums in registers throughout.

Builds on: cuda_flash, whose multiplications run one by one, and whose weights go through shared memory.
Idea: a warp holds 16 queries, and the scores of a tile come out of the tensor cores as fragments, four lanes to a row. They
    become weights in place and go back in as left factors: their places along k are merely counted in another order, and the
    values read in that order. Every factor is split into a tf32 and a tf32 of what is left, of whose products big * big,
    big * small and small * big are summed (3xTF32). Values travel while keys are multiplied, and keys while values are. Tiles
    above the diagonal are left out, warp by warp.
Source: T. Dao, FlashAttention-2, arXiv:2307.08691; for the splitting, H. Ootomo and R. Yokota, IJHPCA 36 (2022),
    arXiv:2203.03341, and NVIDIA CUTLASS, example 27.
Costs: three products for one, and the splitting of keys and values again in every warp. The registers of queries, weights and
    sums leave few threads resident, an eighth of the most for heads of 64; for those of 96, some registers are spilled on
    sm_80. Scores that are not finite are computed again, one by one.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

_KERNELS = {head: CudaKernel(__file__, f"attention_flash_mma_{head}") for head in (32, 64, 96)}
QUERIES, KEYS, THREADS = 64, 32, 128


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
