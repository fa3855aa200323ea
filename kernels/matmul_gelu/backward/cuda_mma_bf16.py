"""Factors of bfloat16 on tensor cores, one product each, with GELU's slope as their epilogue.

Builds on: cuda_mma, which computes six products of three parts, since its factors are float32.
Idea: the factors of a tensor core are bf16, so each pair of fragments is one product, as in
    kernels/matmul/backward_input/cuda_mma_bf16.py. The slope multiplies float32 sums in registers.
Source: NVIDIA, CUTLASS, Efficient GEMM in CUDA; the epilogue DGELU of NVIDIA's cuBLASLt.
Costs: while a block computes its 8,192 hyperbolic tangents, it multiplies nothing. The 64 sums of a thread leave a fifth of
    the threads resident.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "matmul_gelu_backward_mma_bf16")
ROWS, COLUMNS, DEPTH, THREADS = 128, 64, 32, 128  # as in mma_tile_bf16.cuh


@register(MATMUL_GELU_BACKWARD, dtypes=("bfloat16",), tiles={"N": (ROWS,), "C": (COLUMNS,), "O": (DEPTH,)})
def cuda_mma_bf16(dy, weight, pre, dpre):
    (rows, outputs), channels = dy.shape, weight.shape[1]
    if dpre.size:
        grid = (ceil_div(channels, COLUMNS), ceil_div(rows, ROWS))
        launch(_KERNEL, grid, THREADS, (dy, weight, pre, dpre, rows, channels, outputs))
