"""One thread for each row computes dx, then one thread for each channel computes both parameter gradients.

Idea: with n = (x - mean) * rstd and g = dy * weight, dx = (g - mean(g) - n * mean(g * n)) * rstd. The thread that owns a row
    or a channel adds it up alone, in order, so that no addition is atomic.
Source: the first kernel of karpathy/llm.c, dev/cuda/layernorm_backward.cu, whose rows add to the parameter gradients
    atomically; the CPU kernel's formulas, train_gpt2.c, layernorm_backward.
Costs: dy and x are read three times; in two of these reads, neighbouring threads read addresses that are a row apart.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.layer_norm.spec import LAYER_NORM_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_ROWS = CudaKernel(__file__, "layer_norm_backward_rows_naive")
_CHANNELS = CudaKernel(__file__, "layer_norm_backward_channels_naive")


@register(LAYER_NORM_BACKWARD, dtypes=DTYPES, tiles={"N": (THREADS,), "C": (THREADS,)})
def cuda_naive(dy, x, weight, mean, rstd, dx, dweight, dbias, *, accumulate):
    rows, channels = x.shape
    if rows:
        launch(_ROWS, ceil_div(rows, THREADS), THREADS, (dy, x, weight, mean, rstd, dx, rows, channels))
    args = (dy, x, mean, rstd, dweight, dbias, rows, channels, accumulate)
    launch(_CHANNELS, ceil_div(channels, THREADS), THREADS, args)
