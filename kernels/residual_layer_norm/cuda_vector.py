"""The same warps load and store 128 bits at a time.

Builds on: cuda_warp, whose lanes move one element with each instruction.
Idea: both terms, their sum and the result take a quarter of the instructions, or an eighth in bfloat16. The additions overlap
    with the loads of the values that a lane holds in registers.
Source: the fifth kernel of karpathy/llm.c, dev/cuda/fused_residual_forward.cu.
Costs: a row must fit shared memory. Rows that do not start at a multiple of 16 bytes are moved one element at a time. In
    bfloat16, the eight sums of a lane are in the same banks of shared memory as those of the lane four places on.
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
_KERNEL = CudaKernel(__file__, "residual_layer_norm_vector")


def _refuses(C, **_):
    if C * 4 > SHARED:
        yield f"a row of {C} channels does not fit {SHARED} bytes of shared memory"


@register(RESIDUAL_LAYER_NORM, dtypes=DTYPES, tiles={"N": (MOST_ROWS,), "C": (4 * LANES, 8 * LANES)}, refuses=_refuses)
def cuda_vector(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    rows, channels = x1.shape
    room = ceil_div(channels, 4) * 16  # the bytes of a row, rounded up to whole packs of 128 bits
    together = min(MOST_ROWS, SHARED // room)
    args = (x1, x2, weight, bias, residual, y, mean, rstd, rows, channels, eps)
    if rows:
        launch(_KERNEL, ceil_div(rows, together), together * LANES, args, shared=together * room)
