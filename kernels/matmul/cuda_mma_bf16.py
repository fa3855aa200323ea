"""Factors of bfloat16 on tensor cores: one product each, fetched by ldmatrix from where cp.async put them.

Builds on: cuda_mma, which makes six products of three parts, since its factors are float32.
Idea: a bf16 is what a tensor core takes. So panels stay bf16 all the way: copies bring half the bytes, one ldmatrix fetches
    the four registers of a fragment as they are wanted, and nothing is converted. Pieces of 16 bytes are exchanged within the
    rows of a panel so that neither meets another in a bank. A warp has 64 x 32 sums, and uses each fragment four times. A
    panel's products are summed in the tensor cores, and the panels in float32 beside them, whose additions round and do not
    cut. Each sum is rounded to bf16 once, when it is stored. kernels/cuda/mma_tile_bf16.cuh.
Source: NVIDIA, CUTLASS, Efficient GEMM in CUDA (its software pipeline and warp tiles), and PTX ISA, ldmatrix; the sums outside
    the tensor cores are of H. Ootomo and R. Yokota, Recovering single precision accuracy from Tensor Cores, IJHPCA 36 (2022),
    arXiv:2203.03341.
Costs: two panels of each matrix in shared memory, and a thread's 64 sums, leave a fifth of the threads resident. Rows that do
    not start at multiples of 16 bytes are copied number by number, and waited for. Results are written number by number.
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
