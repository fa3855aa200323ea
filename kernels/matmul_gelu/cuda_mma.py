"""Tensor cores at the accuracy of float32, with GELU as their epilogue.

Builds on: cuda_register_tiles, which multiplies one number at a time, and whose threads wait for their loads.
Idea: every factor is the sum of three bf16, and tensor cores sum six of the nine products of their parts, as in
    kernels/matmul/cuda_mma.py. The GELU is computed from sums that are still in registers. kernels/cuda/mma_tile.cuh.
Source: G. Henry, P. Tang and A. Heinecke, Leveraging the bfloat16 Artificial Intelligence Datatype for Higher-Precision
    Computations, ARITH 2019, arXiv:1904.06376; the epilogues of NVIDIA's cuBLASLt (GELU_AUX_BIAS).
Costs: six products instead of one, and the splitting.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "matmul_gelu_mma")
TILE, DEPTH, THREADS = 64, 16, 128  # as in mma_tile.cuh


@register(MATMUL_GELU, tiles={"N": (TILE,), "O": (TILE,), "C": (DEPTH,)})
def cuda_mma(x, weight, bias, pre, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, TILE), ceil_div(rows, TILE))
        launch(_KERNEL, grid, THREADS, (x, weight, bias, pre, y, rows, channels, outputs))
