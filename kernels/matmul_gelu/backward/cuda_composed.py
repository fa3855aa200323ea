"""The input gradient of the matrix product in register tiles, then a backward GELU: two kernels in a row.

Builds on: cuda_naive, whose multiplications wait for two loads each.
Idea: the baseline for the fused variants: a program without a fused op makes these two calls.
Source: kernels/matmul/backward_input/cuda_register_tiles.py.
Costs: the product is written to scratch memory and read back. Scratch memory is float32, and the first kernel stores the
    dtype that it reads: float32 only.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.backward_input.cuda_register_tiles import DEPTH, TILE, cuda_register_tiles
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "gelu_slope_pass")
THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
BLOCKS = 1024  # at most: about eight for each multiprocessor of an A100 (108) or H100 (132), all that are resident


def _workspace(_threads, *, N, C, **_):
    return N * C


@register(MATMUL_GELU_BACKWARD, workspace=_workspace, tiles={"N": (TILE,), "C": (TILE,), "O": (DEPTH,)})
def cuda_composed(dy, weight, pre, dpre, *, workspace):
    dgelu = workspace[: dpre.size].reshape(dpre.shape)
    cuda_register_tiles(dy, weight, dgelu)
    if dpre.size:
        launch(_KERNEL, min(ceil_div(dpre.size, THREADS), BLOCKS), THREADS, (dgelu, pre, dpre, dpre.size))
