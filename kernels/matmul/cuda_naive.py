"""One thread for each element of the result.

Idea: the two outer loops become the grid: a thread finds its row and column and runs the inner loop alone.
Source: karpathy/llm.c, dev/cuda/matmul_forward.cu, kernel 1.
Costs: two loads from memory for every multiplication, and a warp's 32 loads of the weight touch 32 rows.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "matmul_naive")
SIDE = 16  # of a square block of threads: 256 of them, eight warps, hide some latency of memory


@register(MATMUL, dtypes=DTYPES, tiles={"N": (SIDE,), "O": (SIDE,)})
def cuda_naive(x, weight, bias, y):
    (rows, channels), outputs = x.shape, weight.shape[0]
    if y.size:
        grid = (ceil_div(outputs, SIDE), ceil_div(rows, SIDE))
        launch(_KERNEL, grid, (SIDE, SIDE), (x, weight, bias, y, rows, channels, outputs))
