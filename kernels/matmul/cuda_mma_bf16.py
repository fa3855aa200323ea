"""Factors of bfloat16 on tensor cores: one product for each pair, loaded by ldmatrix from shared memory.

Builds on: cuda_mma, which computes six products of three parts, since its factors are float32.
Idea: the factors of a tensor core are bf16, so panels stay bf16: copies move half the bytes, one ldmatrix loads the four
    registers of a fragment, and nothing is converted. Units of 16 bytes are exchanged within the rows of a panel, so that no
    two of one access are in the same bank. A warp has 64 x 32 sums, and uses each fragment four times. Tensor cores sum the
    products of a panel; ordinary additions, which round and do not truncate, sum the panels in float32. Each sum is rounded
    to bf16 once, when it is stored. kernels/cuda/mma_tile_bf16.cuh.
Source: NVIDIA, CUTLASS, Efficient GEMM in CUDA (its software pipeline and warp tiles), and PTX ISA, ldmatrix; the sums
    outside the tensor cores are of H. Ootomo and R. Yokota, Recovering single precision accuracy from Tensor Cores, IJHPCA 36
    (2022), arXiv:2203.03341.
Costs: two panels of each matrix in shared memory, and the 64 sums of a thread, leave a fifth of the threads resident. Rows
    that do not start at multiples of 16 bytes are copied number by number, and the threads wait for the copies. Results are
    written number by number.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "matmul_mma_bf16")
ROWS, COLUMNS, DEPTH, THREADS = 128, 64, 32, 128  # as in mma_tile_bf16.cuh


@register(MATMUL, dtypes=("bfloat16",), tiles={"N": (ROWS,), "O": (COLUMNS,), "C": (DEPTH,)})
def cuda_mma_bf16(x, weight, bias, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, COLUMNS), ceil_div(rows, ROWS))
        launch(_KERNEL, grid, THREADS, (x, weight, bias, y, rows, channels, outputs))
