"""One thread for each row, with three plain loops: its maximum, the sum of exponentials, the division.

Idea: subtract the row's maximum first, so that nothing overflows.
Source: the first kernel of karpathy/llm.c, dev/cuda/softmax_forward.cu.
Costs: the 32 lanes of a warp read 32 rows at once, and each element moves five times.
Dims: N = rows, C = classes.
"""

from kernels.cuda import ceil_div
from kernels.softmax.spec import SOFTMAX
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_KERNEL = CudaKernel(__file__, "softmax_naive")


@register(SOFTMAX, tiles={"N": (THREADS,)})
def cuda_naive(x, y):
    rows, classes = x.shape
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, (x, y, rows, classes))
