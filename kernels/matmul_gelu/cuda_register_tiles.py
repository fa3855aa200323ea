"""The matrix product in register tiles, with GELU as its epilogue.

Builds on: cuda_composed, which reads the whole product back from memory for its second pass.
Idea: a thread computes the GELU of its sums while they are still in its registers, and writes both.
    kernels/cuda/register_tile.cuh.
Source: the epilogues of NVIDIA's cuBLASLt (GELU_AUX_BIAS), which also return both the product and its GELU.
Costs: while a block computes its 4,096 hyperbolic tangents, it multiplies nothing.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "matmul_gelu_register_tiles")
TILE, DEPTH, THREADS = 64, 16, 128  # as in register_tile.cuh


@register(MATMUL_GELU, dtypes=DTYPES, tiles={"N": (TILE,), "O": (TILE,), "C": (DEPTH,)})
def cuda_register_tiles(x, weight, bias, pre, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, TILE), ceil_div(rows, TILE))
        launch(_KERNEL, grid, THREADS, (x, weight, bias, pre, y, rows, channels, outputs))
