"""One thread for each column, with a running sum down the rows.

Idea: neighbouring threads read neighbouring columns of the same row, so each load of a warp is contiguous.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, matmul_backward, with a thread for each iteration of its outer loop.
Costs: there are no more threads than columns, a few thousand where the GPU has room for a hundred thousand.
Dims: N = rows (batch x time), O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_BIAS
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_KERNEL = CudaKernel(__file__, "matmul_backward_bias_naive")


@register(MATMUL_BACKWARD_BIAS, dtypes=DTYPES, tiles={"O": (THREADS,)})
def cuda_naive(dy, dbias, *, accumulate):
    rows, columns = dy.shape
    if columns:
        launch(_KERNEL, ceil_div(columns, THREADS), THREADS, (dy, dbias, rows, columns, accumulate))
