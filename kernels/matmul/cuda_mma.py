"""Tensor cores at the accuracy of float32, fed by asynchronous copies.

Builds on: cuda_register_tiles, whose multiplications run one by one, while its loads hold up the threads that issue them.
Idea: a tensor core multiplies 16 x 16 by 16 x 8 numbers in one instruction, but takes bf16, 8 of a float32's 24 digits, which
    fails the op's error law at once. So each factor is the sum of three bf16, big, middle and small, and the six largest of
    their nine products are summed; the others are below one rounding. Two tf32 parts and three products (3xTF32) take as long
    and came to 0.93 of the error budget, where this stays below a third. The next panels travel to shared memory by cp.async
    during the multiplications. kernels/cuda/mma_tile.cuh.
Source: G. Henry, P. Tang and A. Heinecke, Leveraging the bfloat16 Artificial Intelligence Datatype for Higher-Precision
    Computations, ARITH 2019, arXiv:1904.06376; the sums outside the tensor cores are of H. Ootomo and R. Yokota, Recovering
    single precision accuracy from Tensor Cores, IJHPCA 36 (2022), arXiv:2203.03341.
Costs: six products for one, and the splitting. What arrives in shared memory is float32, so that fragments are read pair by
    pair and not by ldmatrix.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "matmul_mma")
TILE, DEPTH, THREADS = 64, 16, 128  # as in mma_tile.cuh


@register(MATMUL, tiles={"N": (TILE,), "O": (TILE,), "C": (DEPTH,)})
def cuda_mma(x, weight, bias, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, TILE), ceil_div(rows, TILE))
        launch(_KERNEL, grid, THREADS, (x, weight, bias, y, rows, channels, outputs))
