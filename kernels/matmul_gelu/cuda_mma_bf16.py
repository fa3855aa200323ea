"""Factors of bfloat16 on tensor cores, one product each, with GELU as their epilogue.

Builds on: cuda_mma, which computes six products of three parts, since its factors are float32.
Idea: the factors of a tensor core are bf16, so each pair of fragments is one product, as in kernels/matmul/cuda_mma_bf16.py.
    The GELU is computed from float32 sums in registers, before either is rounded. kernels/cuda/mma_tile_bf16.cuh.
Source: NVIDIA, CUTLASS, Efficient GEMM in CUDA; the epilogues of NVIDIA's cuBLASLt (GELU_AUX_BIAS).
Costs: while a block computes its 8,192 hyperbolic tangents, it multiplies nothing. The 64 sums of a thread leave a fifth of
    the threads resident.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "matmul_gelu_mma_bf16")
ROWS, COLUMNS, DEPTH, THREADS = 128, 64, 32, 128  # as in mma_tile_bf16.cuh


@register(MATMUL_GELU, dtypes=("bfloat16",), tiles={"N": (ROWS,), "O": (COLUMNS,), "C": (DEPTH,)})
def cuda_mma_bf16(x, weight, bias, pre, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, COLUMNS), ceil_div(rows, ROWS))
        launch(_KERNEL, grid, THREADS, (x, weight, bias, pre, y, rows, channels, outputs))
