"""Queries, keys and values of bfloat16 go to tensor cores as they are; only the weights are split, in three.

Builds on: cuda_flash_mma, which splits both factors of both products, and takes tf32 at half the depth.
Idea: what memory holds is a bf16 already: a score is one product, exact in its factors, and no infinity needs mending. A weight
    is not: as one bf16 it misses the error law by a factor of thousands, as two by three, so it goes in as three, which make up
    all 24 digits. Keys and values stay bf16 in shared memory, half the bytes, and come out by ldmatrix, turned where they are
    values. Four products where six of half the depth were. kernels/cuda/flash_mma.cuh.
Source: T. Dao, FlashAttention-2, arXiv:2307.08691; for the three parts, G. Henry, P. Tang and A. Heinecke, Leveraging the
    bfloat16 Artificial Intelligence Datatype for Higher-Precision Computations, ARITH 2019, arXiv:1904.06376.
Costs: three products for one with the values. Rows that do not start at multiples of 16 bytes are copied number by number, and
    waited for. The registers of queries, weights and sums leave few threads resident.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

_KERNELS = {head: CudaKernel(__file__, f"attention_flash_mma_bf16_{head}") for head in (32, 64, 96)}
QUERIES, KEYS, THREADS = 64, 32, 128


def _refuses(*, D, **_):
    if max(_KERNELS) < D:
        yield f"heads of more than {max(_KERNELS)} numbers"


@register(ATTENTION, dtypes=("bfloat16",), tiles={"T": (KEYS, QUERIES), "D": (8, *_KERNELS)}, refuses=_refuses)
def cuda_flash_mma_bf16(qkv, y, lse, *, num_heads):
    batch, time, size = *y.shape[:2], y.shape[2] // num_heads
    if y.size:
        kernel = _KERNELS[min(head for head in _KERNELS if head >= size)]
        grid = (ceil_div(time, QUERIES), batch * num_heads)
        launch(kernel, grid, THREADS, (qkv, y, lse, time, num_heads, size, 1 / math.sqrt(size)))
