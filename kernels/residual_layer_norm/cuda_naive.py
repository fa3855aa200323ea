"""One thread for each row: the sum, its mean, its variance, the normalisation.

Idea: the thread that sums a row normalises it, so one kernel does both ops. The sum is computed again from its terms wherever
    it is needed, since the stored sum may have been rounded.
Source: the second kernel of karpathy/llm.c, dev/cuda/fused_residual_forward.cu.
Costs: the 32 lanes of a warp read 32 rows at once, so that each load touches 32 separate stretches of memory.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_KERNEL = CudaKernel(__file__, "residual_layer_norm_naive")


@register(RESIDUAL_LAYER_NORM, dtypes=DTYPES, tiles={"N": (THREADS,)})
def cuda_naive(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    rows, channels = x1.shape
    args = (x1, x2, weight, bias, residual, y, mean, rstd, rows, channels, eps)
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, args)
