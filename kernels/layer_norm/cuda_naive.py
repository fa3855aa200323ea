"""One thread for each row, with the three plain loops of the reference.

Idea: no row depends on another row, so each row gets a thread of its own.
Source: the first kernel of karpathy/llm.c, dev/cuda/layernorm_forward.cu.
Costs: the 32 lanes of a warp read 32 rows at once, so that each load touches 32 separate stretches of memory.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.layer_norm.spec import LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_KERNEL = CudaKernel(__file__, "layer_norm_naive")


@register(LAYER_NORM, dtypes=DTYPES, tiles={"N": (THREADS,)})
def cuda_naive(x, weight, bias, y, mean, rstd, *, eps):
    rows, channels = x.shape
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, (x, weight, bias, y, mean, rstd, rows, channels, eps))
