"""Tensor cores at the accuracy of float32, fed by asynchronous copies.

Builds on: cuda_register_tiles, which multiplies one number at a time, and whose threads wait for their loads.
Idea: a tensor core multiplies 16 x 16 by 16 x 8 numbers in one instruction, but its factors are bf16, with 8 of the 24 digits
    of a float32, which misses the error law of the op. So each factor is the sum of three bf16, big, middle and small, and
    the six largest of their nine products are summed; the others are below one rounding. Two tf32 parts and three products
    (3xTF32) take as long and reached 0.93 of the tolerance; this variant stays below a third. cp.async copies the next panels
    to shared memory during the multiplications. kernels/cuda/mma_tile.cuh.
Source: G. Henry, P. Tang and A. Heinecke, Leveraging the bfloat16 Artificial Intelligence Datatype for Higher-Precision
    Computations, ARITH 2019, arXiv:1904.06376; the sums outside the tensor cores are of H. Ootomo and R. Yokota, Recovering
    single precision accuracy from Tensor Cores, IJHPCA 36 (2022), arXiv:2203.03341.
Costs: six products instead of one, and the splitting. Shared memory holds float32, so fragments are read pair by pair and not
    by ldmatrix.
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
