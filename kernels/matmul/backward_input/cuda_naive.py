"""One thread for each element of the gradient.

Idea: the two outer loops become the grid. Neighbouring threads of a warp compute neighbouring channels, so each load of the
    weight is contiguous, and each load of dy is the same address for all.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward, the first of its two nests of loops.
Costs: two loads from memory for every multiplication.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_INPUT
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "backward_input_naive")
BLOCK_WIDTH, BLOCK_HEIGHT = 32, 8  # threads: a warp along the row, eight warps to hide the latency of memory


@register(MATMUL_BACKWARD_INPUT, dtypes=DTYPES, tiles={"N": (BLOCK_HEIGHT,), "C": (BLOCK_WIDTH,)})
def cuda_naive(dy, weight, dx):
    (rows, outputs), channels = dy.shape, weight.shape[1]
    if dx.size:
        grid = (ceil_div(channels, BLOCK_WIDTH), ceil_div(rows, BLOCK_HEIGHT))
        launch(_KERNEL, grid, (BLOCK_WIDTH, BLOCK_HEIGHT), (dy, weight, dx, rows, channels, outputs))
