"""One warp for each row, which finds maximum and sum in one read.

Builds on: cuda_naive, which reads a row once for its maximum and again for its sum, in steps of a whole row.
Idea: each lane keeps a running sum relative to its largest value so far, and rescales it when the maximum grows. At the end
    the lanes merge their pairs of maximum and sum by shuffles.
Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867.
Costs: the exponentials are computed twice.
Dims: N = rows, C = classes.
"""

from kernels.cuda import ceil_div
from kernels.softmax.spec import SOFTMAX
from registry import register
from registry.cuda import CudaKernel, launch

ROWS, LANES = 8, 32  # of a block: a warp for each row, and eight warps to hide the latency of memory
_KERNEL = CudaKernel(__file__, "softmax_online")


@register(SOFTMAX, tiles={"N": (ROWS,), "C": (LANES,)})
def cuda_online(x, y):
    rows, classes = x.shape
    if rows:
        launch(_KERNEL, ceil_div(rows, ROWS), ROWS * LANES, (x, y, rows, classes))
