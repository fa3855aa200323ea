"""The matrix product in register tiles, with GELU's slope as its epilogue.

Builds on: cuda_composed, which writes the whole product to memory and reads it back for its second pass.
Idea: a thread multiplies its sums by the slope while they are still in its registers. kernels/cuda/register_tile.cuh.
Source: the epilogue DGELU of NVIDIA's cuBLASLt.
Costs: while a block computes its 4,096 hyperbolic tangents, it multiplies nothing.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "matmul_gelu_backward_register_tiles")
TILE, DEPTH, THREADS = 64, 16, 128  # as in register_tile.cuh


@register(MATMUL_GELU_BACKWARD, dtypes=DTYPES, tiles={"N": (TILE,), "C": (TILE,), "O": (DEPTH,)})
def cuda_register_tiles(dy, weight, pre, dpre):
    (rows, outputs), channels = dy.shape, weight.shape[1]
    if dpre.size:
        grid = (ceil_div(channels, TILE), ceil_div(rows, TILE))
        launch(_KERNEL, grid, THREADS, (dy, weight, pre, dpre, rows, channels, outputs))
