"""Factors of bfloat16 on tensor cores: one product for each pair, loaded by ldmatrix from shared memory.

Builds on: cuda_mma, which computes six products of three parts, and reads both matrices number by number.
Idea: the factors of a tensor core are bf16, so each pair of fragments is one product: kernels/matmul/cuda_mma_bf16.py. In
    both matrices, neighbours in k are a row apart in memory; ldmatrix transposes each 8 x 8 matrix of 16-bit numbers while it
    loads. The old gradient is added in float32, and the sum is rounded once. kernels/cuda/mma_tile_bf16.cuh.
Source: NVIDIA, CUTLASS, Efficient GEMM in CUDA, and PTX ISA, ldmatrix with .trans.
Costs: the 64 sums of a thread leave a fifth of the threads resident; a small gradient has few tiles, each with a long sum.
    Rows that do not start at multiples of 16 bytes are copied number by number, and the threads wait for the copies.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "backward_weight_mma_bf16")
ROWS, COLUMNS, DEPTH, THREADS = 128, 64, 32, 128  # as in mma_tile_bf16.cuh


@register(MATMUL_BACKWARD_WEIGHT, dtypes=("bfloat16",), tiles={"O": (ROWS,), "C": (COLUMNS,), "N": (DEPTH,)})
def cuda_mma_bf16(dy, x, dweight, *, accumulate):
    (rows, outputs), channels = dy.shape, x.shape[1]
    if dweight.size:
        grid = (ceil_div(channels, COLUMNS), ceil_div(outputs, ROWS))
        launch(_KERNEL, grid, THREADS, (dy, x, dweight, rows, channels, outputs, accumulate))
