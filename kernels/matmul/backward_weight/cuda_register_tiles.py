"""A register tile for each thread: 8 x 4 sums at once, fed by 128-bit loads.

Builds on: cuda_naive, which loads two numbers for every multiplication.
Idea: shared memory stores tiles of both matrices with k as the row, which is their layout in global memory. 128-bit loads and
    stores copy them without a transpose, and a thread loads the 12 numbers of 32 multiplications in three more.
    kernels/cuda/register_tile.cuh.
Source: V. Volkov and J. Demmel, Benchmarking GPUs to tune dense linear algebra, SC 2008, doi:10.1109/SC.2008.5214359.
Costs: the registers of a thread limit how many threads are resident; a small gradient has few tiles, each with a long sum.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "backward_weight_register_tiles")
TILE, DEPTH, THREADS = 64, 16, 128  # as in register_tile.cuh


@register(MATMUL_BACKWARD_WEIGHT, dtypes=DTYPES, tiles={"O": (TILE,), "C": (TILE,), "N": (DEPTH,)})
def cuda_register_tiles(dy, x, dweight, *, accumulate):
    (rows, outputs), channels = dy.shape, x.shape[1]
    if dweight.size:
        grid = (ceil_div(channels, TILE), ceil_div(outputs, TILE))
        launch(_KERNEL, grid, THREADS, (dy, x, dweight, rows, channels, outputs, accumulate))
