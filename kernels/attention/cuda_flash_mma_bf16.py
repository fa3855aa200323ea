"""Queries, keys and values of bfloat16 are factors of tensor cores without a conversion; only the weights are split, in three.

Builds on: cuda_flash_mma, which splits both factors of both products, and takes tf32 at half the depth.
Idea: memory already holds bf16, so a score is one product with exact factors, and an infinity needs no correction. A weight
    is not a bf16: one bf16 misses the error law by a factor of thousands, two by a factor of three, so a weight becomes
    three, which hold all 24 digits. Keys and values stay bf16 in shared memory, half the bytes, and ldmatrix loads them,
    transposed for the values. Four products replace six of half the depth. kernels/cuda/flash_mma.cuh.
Source: T. Dao, FlashAttention-2, arXiv:2307.08691; for the three parts, G. Henry, P. Tang and A. Heinecke, Leveraging the
    bfloat16 Artificial Intelligence Datatype for Higher-Precision Computations, ARITH 2019, arXiv:1904.06376.
Costs: three products with the values instead of one. Rows that do not start at multiples of 16 bytes are copied number by
    number, and the threads wait for the copies. The registers of queries, weights and sums leave few threads resident.
Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.
"""

import math

from kernels.attention.spec import ATTENTION
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

_KERNELS = {head: CudaKernel(__file__, f"attention_flash_mma_bf16_{head}") for head in (32, 64, 96)}
QUERIES, KEYS, THREADS = 64, 32, 128  # as in flash_mma.cuh: 16 queries for each of four warps


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
