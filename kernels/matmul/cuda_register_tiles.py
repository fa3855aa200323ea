"""A register tile for each thread: 8 x 4 sums at once, fed by 128-bit loads.

Builds on: cuda_tiled, in which every multiplication waits for two loads from shared memory.
Idea: a thread that owns 8 x 4 sums needs 12 numbers for 32 multiplications, in three 128-bit loads. Shared memory stores both
    tiles with k as the row, so that the numbers of a thread are contiguous. A matrix is loaded number by number where it or
    its rows do not start at a multiple of 16 bytes. kernels/cuda/register_tile.cuh.
Source: V. Volkov and J. Demmel, Benchmarking GPUs to tune dense linear algebra, SC 2008, doi:10.1109/SC.2008.5214359.
Costs: the registers of a thread limit how many threads are resident. Where k has to become the row, two stores to shared
    memory at a time conflict in one bank. Results are written number by number, and neighbouring lanes write four elements
    apart.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "matmul_register_tiles")
TILE, DEPTH, THREADS = 64, 16, 128  # as in register_tile.cuh


@register(MATMUL, dtypes=DTYPES, tiles={"N": (TILE,), "O": (TILE,), "C": (DEPTH,)})
def cuda_register_tiles(x, weight, bias, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, TILE), ceil_div(rows, TILE))
        launch(_KERNEL, grid, THREADS, (x, weight, bias, y, rows, channels, outputs))
