"""Square tiles of both matrices in shared memory.

Builds on: cuda_naive, which loads each number of x once for every output, and each weight once for every row.
Idea: the threads of a block together load a tile of each matrix, in contiguous loads, wait for each other, and read every
    number 32 times from shared memory.
Source: NVIDIA, CUDA C++ Programming Guide, section 3.2.4 (shared memory).
Costs: two loads from shared memory for every multiplication, and two barriers for every tile.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "matmul_tiled")
SIDE = 32  # of a tile, and of a block of threads: 1,024, the most that a block may have


@register(MATMUL, dtypes=DTYPES, tiles={"N": (SIDE,), "O": (SIDE,), "C": (SIDE,)})
def cuda_tiled(x, weight, bias, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, SIDE), ceil_div(rows, SIDE))
        launch(_KERNEL, grid, (SIDE, SIDE), (x, weight, bias, y, rows, channels, outputs))
