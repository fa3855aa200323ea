"""One thread for each row makes dx, then one thread for each channel makes both parameter gradients.

Idea: layer normalisation backward, to which the gradient that bypasses it is added. Whoever owns a row or a channel adds it
    up alone, in order, so that nothing is atomic.
Source: the CPU kernels of karpathy/llm.c, train_gpt2.c, layernorm_backward and residual_backward; the cut into rows and
    channels is that of kernels/layer_norm/backward/cuda_naive.cu.
Costs: dy and the residual are read three times, twice in steps of a whole row.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128
_ROWS = CudaKernel(__file__, "residual_layer_norm_backward_rows_naive")
_CHANNELS = CudaKernel(__file__, "residual_layer_norm_backward_channels_naive")


@register(RESIDUAL_LAYER_NORM_BACKWARD, dtypes=DTYPES, tiles={"N": (THREADS,), "C": (THREADS,)})
def cuda_naive(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate):
    rows, channels = residual.shape
    if rows:
        launch(_ROWS, ceil_div(rows, THREADS), THREADS, (dy, dresidual, residual, weight, mean, rstd, dx, rows, channels))
    args = (dy, residual, mean, rstd, dweight, dbias, rows, channels, accumulate)
    launch(_CHANNELS, ceil_div(channels, THREADS), THREADS, args)
