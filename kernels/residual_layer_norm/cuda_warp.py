"""One warp for each row, which keeps the sum in shared memory until it is normalised.

Builds on: cuda_naive, which reads both terms from global memory three times, in steps of a whole row.
Idea: lanes read neighbouring channels and exchange partial sums by shuffles. The row is read once and its sum written once.
    Each lane reads back from shared memory only its own sums, unrounded, without a barrier.
Source: karpathy/llm.c, dev/cuda/fused_residual_forward.cu: the third kernel for a warp to each row, the fifth for the row in
    shared memory.
Costs: a row must fit shared memory.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

LANES = 32
MOST_ROWS = 4  # of a block, one for each warp: each takes shared memory
SHARED = 48 * 1024  # bytes that every GPU gives a block
_KERNEL = CudaKernel(__file__, "residual_layer_norm_warp")


def _refuses(C, **_):
    if C * 4 > SHARED:
        yield f"a row of {C} channels does not fit {SHARED} bytes of shared memory"


@register(RESIDUAL_LAYER_NORM, dtypes=DTYPES, tiles={"N": (MOST_ROWS,), "C": (LANES,)}, refuses=_refuses)
def cuda_warp(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    rows, channels = x1.shape
    together = min(MOST_ROWS, SHARED // (channels * 4))
    args = (x1, x2, weight, bias, residual, y, mean, rstd, rows, channels, eps)
    if rows:
        launch(_KERNEL, ceil_div(rows, together), together * LANES, args, shared=together * channels * 4)
