"""One thread for each row, with the two plain loops of the reference.

Idea: no row depends on another row, so each row gets a thread of its own.
Source: B. Zhang and R. Sennrich, Root Mean Square Layer Normalization (2019), arXiv:1910.07467, equation 4.
Costs: the 32 lanes of a warp read 32 rows at once, so that each load touches 32 separate stretches of memory.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.rms_norm.spec import RMS_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps: few rows still spread over several multiprocessors
_KERNEL = CudaKernel(__file__, "rms_norm_naive")


@register(RMS_NORM, dtypes=DTYPES, tiles={"N": (THREADS,)})
def cuda_naive(x, weight, y, rstd, *, eps):
    rows, channels = x.shape
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, (x, weight, y, rstd, rows, channels, eps))
