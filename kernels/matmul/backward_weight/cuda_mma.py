"""Tensor cores at the accuracy of float32, fed by asynchronous copies.

Builds on: cuda_register_tiles, which multiplies one number at a time, and whose threads wait for their loads.
Idea: every factor is the sum of three bf16, and tensor cores sum six of the nine products of their parts:
    kernels/matmul/cuda_mma.py. In both matrices, neighbours in k are a row apart in memory. Each lane reads its own numbers,
    from rows padded by 4 numbers, so that they are in different banks.
Source: G. Henry, P. Tang and A. Heinecke, Leveraging the bfloat16 Artificial Intelligence Datatype for Higher-Precision
    Computations, ARITH 2019, arXiv:1904.06376.
Costs: six products instead of one, and the splitting. Two loads for each pair of both matrices.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "backward_weight_mma")
TILE, DEPTH, THREADS = 64, 16, 128  # as in mma_tile.cuh


@register(MATMUL_BACKWARD_WEIGHT, tiles={"O": (TILE,), "C": (TILE,), "N": (DEPTH,)})
def cuda_mma(dy, x, dweight, *, accumulate):
    (rows, outputs), channels = dy.shape, x.shape[1]
    if dweight.size:
        grid = (ceil_div(channels, TILE), ceil_div(outputs, TILE))
        launch(_KERNEL, grid, THREADS, (dy, x, dweight, rows, channels, outputs, accumulate))
