"""A row stays in shared memory between its three sweeps, and moves in loads and stores of 128 bits.

Builds on: cuda_warp, which reads each row from global memory three times, four bytes for each lane.
Idea: an instruction moves at most 16 bytes for a lane, so a quarter of the loads and stores is issued, or an eighth in
    bfloat16. Shared memory holds the row as it was loaded. Each lane reads back only its own elements, so nothing needs a
    barrier.
Source: karpathy/llm.c, the sixth kernel of dev/cuda/layernorm_forward.cu for the row in shared memory, the fifth of
    dev/cuda/fused_residual_forward.cu for 128 bits; J. Luitjens, Increase performance with vectorized memory access (NVIDIA
    developer blog, 2013).
Costs: a row must fit shared memory; rows that do not start at a multiple of 16 bytes are moved one element at a time.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div, packed_size
from kernels.layer_norm.spec import LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

LANES = 32
MOST_ROWS = 4  # of a block, one for each warp: each takes shared memory
SHARED = 48 * 1024  # bytes that every GPU gives a block
_KERNEL = CudaKernel(__file__, "layer_norm_vector")


def _refuses(C, **_):
    if C * 4 > SHARED:
        yield f"a row of {C} channels in float32 does not fit {SHARED} bytes of shared memory"


@register(LAYER_NORM, dtypes=DTYPES, tiles={"N": (MOST_ROWS,), "C": (4 * LANES, 8 * LANES)}, refuses=_refuses)
def cuda_vector(x, weight, bias, y, mean, rstd, *, eps):
    rows, channels = x.shape
    room = ceil_div(channels, packed_size(x)) * 16  # the bytes of a row, rounded up to whole packs of 128 bits
    together = max(min(MOST_ROWS, SHARED // room), 1)
    args = (x, weight, bias, y, mean, rstd, rows, channels, eps)
    if rows:
        launch(_KERNEL, ceil_div(rows, together), together * LANES, args, shared=together * room)
