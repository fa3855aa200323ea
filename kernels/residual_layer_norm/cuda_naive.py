"""One thread for each row: the sum, its mean, its variance, the normalisation.

Idea: the row that a thread sums is the row that it normalises, so one kernel can do both ops. The sum is made anew from
    its terms where it is needed: what was stored of it may have been rounded.
Source: the second kernel of karpathy/llm.c, dev/cuda/fused_residual_forward.cu.
Costs: the 32 lanes of a warp read 32 rows at once, so that each load touches 32 separate stretches of memory.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128
_KERNEL = CudaKernel(__file__, "residual_layer_norm_naive")


@register(RESIDUAL_LAYER_NORM, dtypes=DTYPES, tiles={"N": (THREADS,)})
def cuda_naive(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    rows, channels = x1.shape
    args = (x1, x2, weight, bias, residual, y, mean, rstd, rows, channels, eps)
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, args)
