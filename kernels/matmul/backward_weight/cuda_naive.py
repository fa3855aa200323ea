"""One thread for each element of the gradient.

Idea: the two outer loops become the grid. Neighbouring threads of a warp compute neighbouring channels, so each load of x is
    contiguous, and each load of dy is the same address for all. One thread adds up one element, so the sum has one order.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward, the second of its two nests of loops.
Costs: two loads from memory for every multiplication; where the gradient is small, few threads sum over many rows.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "backward_weight_naive")
BLOCK_WIDTH, BLOCK_HEIGHT = 32, 8  # threads: a warp along the row, eight warps to hide the latency of memory


@register(MATMUL_BACKWARD_WEIGHT, dtypes=DTYPES, tiles={"O": (BLOCK_HEIGHT,), "C": (BLOCK_WIDTH,)})
def cuda_naive(dy, x, dweight, *, accumulate):
    (rows, outputs), channels = dy.shape, x.shape[1]
    if dweight.size:
        grid = (ceil_div(channels, BLOCK_WIDTH), ceil_div(outputs, BLOCK_HEIGHT))
        launch(_KERNEL, grid, (BLOCK_WIDTH, BLOCK_HEIGHT), (dy, x, dweight, rows, channels, outputs, accumulate))
