"""The matrix product in register tiles, then a GELU: two kernels in a row.

Builds on: cuda_naive, whose multiplications wait for two loads each.
Idea: the baseline for the fused variants: a program without a fused op makes these two calls.
Source: kernels/matmul/cuda_register_tiles.py.
Costs: the product is written to memory and read back. In bfloat16 the product would be rounded in between, and the op is the
    GELU of the unrounded product: float32 only.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.cuda_register_tiles import DEPTH, TILE, cuda_register_tiles
from kernels.matmul_gelu.spec import MATMUL_GELU
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "gelu_pass")
THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
BLOCKS = 1024  # at most: about eight for each multiprocessor of an A100 (108) or H100 (132), all that are resident


@register(MATMUL_GELU, tiles={"N": (TILE,), "O": (TILE,), "C": (DEPTH,)})
def cuda_composed(x, weight, bias, pre, y):
    cuda_register_tiles(x, weight, bias, pre)
    if y.size:
        launch(_KERNEL, min(ceil_div(y.size, THREADS), BLOCKS), THREADS, (pre, y, y.size))
