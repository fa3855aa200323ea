"""Tensor cores at the accuracy of float32, with GELU's slope as their epilogue.

Builds on: cuda_register_tiles, which multiplies one number at a time, and whose threads wait for their loads.
Idea: every factor is the sum of three bf16, and tensor cores sum six of the nine products of their parts, as in
    kernels/matmul/backward_input/cuda_mma.py. The slope multiplies sums that are still in registers.
Source: G. Henry, P. Tang and A. Heinecke, Leveraging the bfloat16 Artificial Intelligence Datatype for Higher-Precision
    Computations, ARITH 2019, arXiv:1904.06376; the epilogue DGELU of NVIDIA's cuBLASLt.
Costs: six products instead of one, and the splitting.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "matmul_gelu_backward_mma")
TILE, DEPTH, THREADS = 64, 16, 128  # as in mma_tile.cuh


@register(MATMUL_GELU_BACKWARD, tiles={"N": (TILE,), "C": (TILE,), "O": (DEPTH,)})
def cuda_mma(dy, weight, pre, dpre):
    (rows, outputs), channels = dy.shape, weight.shape[1]
    if dpre.size:
        grid = (ceil_div(channels, TILE), ceil_div(rows, TILE))
        launch(_KERNEL, grid, THREADS, (dy, weight, pre, dpre, rows, channels, outputs))
