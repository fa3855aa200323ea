"""One thread for each element of the gradient.

Idea: the two outer loops become the grid. Neighbours in a warp take neighbouring channels, so that each load of x is of one
    piece of memory, and that of dy is the same number for all. Nothing is added by two threads, so that the sum has one order.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward, second of its two rounds of loops.
Costs: two loads from memory for every multiplication; where the gradient is small, few threads sum over many rows.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "backward_weight_naive")
WIDE, HIGH = 32, 8  # of a block of threads


@register(MATMUL_BACKWARD_WEIGHT, dtypes=DTYPES, tiles={"O": (HIGH,), "C": (WIDE,)})
def cuda_naive(dy, x, dweight, *, accumulate):
    (rows, outputs), channels = dy.shape, x.shape[1]
    if dweight.size:
        grid = (ceil_div(channels, WIDE), ceil_div(outputs, HIGH))
        launch(_KERNEL, grid, (WIDE, HIGH), (dy, x, dweight, rows, channels, outputs, accumulate))
