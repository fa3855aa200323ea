"""One thread for each row, with two plain loops: the sum of dy * y, then the result.

Idea: the Jacobian of softmax is diag(y) - y·yᵀ, so one dot product is enough for the whole row.
Source: the derivation is in J. S. Bridle, Neurocomputing F68 (1990), 227.
Costs: the 32 lanes of a warp read 32 rows at once, so that each load touches 32 separate stretches of memory.
Dims: N = rows, C = classes.
"""

from kernels.cuda import ceil_div
from kernels.softmax.spec import SOFTMAX_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_KERNEL = CudaKernel(__file__, "softmax_backward_naive")


@register(SOFTMAX_BACKWARD, tiles={"N": (THREADS,)})
def cuda_naive(dy, y, dx):
    rows, classes = y.shape
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, (dy, y, dx, rows, classes))
