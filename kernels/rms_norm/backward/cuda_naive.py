"""One thread for each row computes dx, then one thread for each channel computes dweight.

Idea: with n = x * rstd and g = dy * weight, dx = (g - n * mean(g * n)) * rstd and dweight = sum over rows of dy * n. The thread
    that owns a row or a channel adds it up alone, in order, so that no addition is atomic.
Source: B. Zhang and R. Sennrich, Root Mean Square Layer Normalization (2019), arXiv:1910.07467, section 4.2; the division into
    two kernels is that of kernels/layer_norm/backward/cuda_naive.py.
Costs: dy and x are read three times; in two of these reads, neighbouring threads read addresses that lie a row apart.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.rms_norm.spec import RMS_NORM_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps: few rows or channels still spread over several multiprocessors
_ROWS = CudaKernel(__file__, "rms_norm_backward_rows_naive")
_CHANNELS = CudaKernel(__file__, "rms_norm_backward_channels_naive")


@register(RMS_NORM_BACKWARD, dtypes=DTYPES, tiles={"N": (THREADS,), "C": (THREADS,)})
def cuda_naive(dy, x, weight, rstd, dx, dweight, *, accumulate):
    rows, channels = x.shape
    if rows:
        launch(_ROWS, ceil_div(rows, THREADS), THREADS, (dy, x, weight, rstd, dx, rows, channels))
    launch(_CHANNELS, ceil_div(channels, THREADS), THREADS, (dy, x, rstd, dweight, rows, channels, accumulate))
