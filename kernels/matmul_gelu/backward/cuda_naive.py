"""One thread for each element of the gradient.

Idea: the two outer loops become the grid: a thread finds its row and channel, runs the inner loop alone, and multiplies what it
    has summed by the slope of GELU.
Source: karpathy/llm.c, the CPU kernel matmul_backward of train_gpt2.c and dev/cuda/gelu_backward.cu, kernel 1.
Costs: two loads from memory for every multiplication.
"""

from kernels.cuda import ceil_div
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

_KERNEL = CudaKernel(__file__, "matmul_gelu_backward_naive")
WIDE, HIGH = 32, 8  # of a block of threads


@register(MATMUL_GELU_BACKWARD, dtypes=DTYPES, tiles={"N": (HIGH,), "C": (WIDE,)})
def cuda_naive(dy, weight, pre, dpre):
    (rows, outputs), channels = dy.shape, weight.shape[1]
    if dpre.size:
        grid = (ceil_div(channels, WIDE), ceil_div(rows, HIGH))
        launch(_KERNEL, grid, (WIDE, HIGH), (dy, weight, pre, dpre, rows, channels, outputs))
