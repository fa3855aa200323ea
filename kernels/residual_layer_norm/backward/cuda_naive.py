"""One thread for each row computes dx, then one thread for each channel computes both parameter gradients.

Idea: layer normalisation backward, plus the gradient that bypasses it. The thread that owns a row or a channel adds it up
    alone, in order, so that no addition is atomic.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, layernorm_backward and residual_backward; the cut into rows and
    channels is that of kernels/layer_norm/backward/cuda_naive.cu.
Costs: dy and the residual are read three times; in two of these reads, neighbouring threads read addresses that are a row
    apart.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_ROWS = CudaKernel(__file__, "residual_layer_norm_backward_rows_naive")
_CHANNELS = CudaKernel(__file__, "residual_layer_norm_backward_channels_naive")


@register(RESIDUAL_LAYER_NORM_BACKWARD, dtypes=DTYPES, tiles={"N": (THREADS,), "C": (THREADS,)})
def cuda_naive(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate):
    rows, channels = residual.shape
    if rows:
        launch(_ROWS, ceil_div(rows, THREADS), THREADS, (dy, dresidual, residual, weight, mean, rstd, dx, rows, channels))
    args = (dy, residual, mean, rstd, dweight, dbias, rows, channels, accumulate)
    launch(_CHANNELS, ceil_div(channels, THREADS), THREADS, args)
