"""The matrix product in register tiles, then a GELU: two kernels in a row.

Builds on: cuda_naive, whose multiplications wait for two loads each.
Idea: what a program does that knows no fused op, as the measure of what fusing gains.
Source: kernels/matmul/cuda_register_tiles.py.
Costs: the product is written to memory and read back. What is stored in bfloat16 is rounded in between, and the GELU of a
    rounded number is not what is asked for: float32 only.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.cuda_register_tiles import DEPTH, TILE, cuda_register_tiles
from kernels.matmul_gelu.spec import MATMUL_GELU
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "gelu_pass")
THREADS, BLOCKS = 256, 1024


@register(MATMUL_GELU, tiles={"N": (TILE,), "O": (TILE,), "C": (DEPTH,)})
def cuda_composed(x, weight, bias, pre, y):
    cuda_register_tiles(x, weight, bias, pre)
    if y.size:
        launch(_KERNEL, min(ceil_div(y.size, THREADS), BLOCKS), THREADS, (pre, y, y.size))
