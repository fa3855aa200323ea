"""One thread for each element of the gradient.

Idea: the two outer loops become the grid: a thread finds its row and channel, runs the inner loop alone, and multiplies its
    sum by the slope of GELU.
Source: karpathy/llm.c, the CPU kernel matmul_backward of train_gpt2.c and dev/cuda/gelu_backward.cu, kernel 1.
Costs: two loads from memory for every multiplication.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "matmul_gelu_backward_naive")
BLOCK_WIDTH, BLOCK_HEIGHT = 32, 8  # threads: a warp along the row, eight warps to hide the latency of memory


@register(MATMUL_GELU_BACKWARD, dtypes=DTYPES, tiles={"N": (BLOCK_HEIGHT,), "C": (BLOCK_WIDTH,)})
def cuda_naive(dy, weight, pre, dpre):
    (rows, outputs), channels = dy.shape, weight.shape[1]
    if dpre.size:
        grid = (ceil_div(channels, BLOCK_WIDTH), ceil_div(rows, BLOCK_HEIGHT))
        launch(_KERNEL, grid, (BLOCK_WIDTH, BLOCK_HEIGHT), (dy, weight, pre, dpre, rows, channels, outputs))
