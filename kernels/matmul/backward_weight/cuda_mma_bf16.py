"""Factors of bfloat16 on tensor cores: one product each, fetched by ldmatrix from where cp.async put them.

Builds on: cuda_mma, which makes six products of three parts, and reads both matrices number by number.
Idea: a bf16 is what a tensor core takes, so each pair of fragments is one product: kernels/matmul/cuda_mma_bf16.py. Of both
    matrices, neighbours in k are a row apart; ldmatrix turns each 8 x 8 matrix of 16-bit numbers on the way. What stands in the
    gradient is added in float32, and the sum rounded once. kernels/cuda/mma_tile_bf16.cuh.
Source: NVIDIA, CUTLASS, Efficient GEMM in CUDA, and PTX ISA, ldmatrix with .trans.
Costs: a thread's 64 sums leave a fifth of the threads resident; a small gradient has few tiles, each with a long sum. Rows that
    do not start at multiples of 16 bytes are copied number by number, and waited for.
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
