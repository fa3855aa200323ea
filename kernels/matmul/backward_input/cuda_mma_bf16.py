"""Factors of bfloat16 on tensor cores: one product for each pair, loaded by ldmatrix from shared memory.

Builds on: cuda_mma, which computes six products of three parts, and reads the weight number by number.
Idea: the factors of a tensor core are bf16, so each pair of fragments is one product: kernels/matmul/cuda_mma_bf16.py. A
    fragment of the weight holds neighbours in k, which are a row apart in memory; ldmatrix transposes each 8 x 8 matrix of
    16-bit numbers while it loads. kernels/cuda/mma_tile_bf16.cuh.
Source: NVIDIA, CUTLASS, Efficient GEMM in CUDA, and PTX ISA, ldmatrix with .trans.
Costs: the 64 sums of a thread leave a fifth of the threads resident. Rows that do not start at multiples of 16 bytes are
    copied number by number, and the threads wait for the copies. Results are written number by number.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_INPUT
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "backward_input_mma_bf16")
ROWS, COLUMNS, DEPTH, THREADS = 128, 64, 32, 128  # as in mma_tile_bf16.cuh


@register(MATMUL_BACKWARD_INPUT, dtypes=("bfloat16",), tiles={"N": (ROWS,), "C": (COLUMNS,), "O": (DEPTH,)})
def cuda_mma_bf16(dy, weight, dx):
    (rows, outputs), channels = dy.shape, weight.shape[1]
    if dx.size:
        grid = (ceil_div(channels, COLUMNS), ceil_div(rows, ROWS))
        launch(_KERNEL, grid, THREADS, (dy, weight, dx, rows, channels, outputs))
