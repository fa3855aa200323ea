"""A warp for each row, with its own sums for both parameter gradients, in loads and stores of 128 bits.

Builds on: cuda_partials, whose warps wait for each other at four barriers for each row.
Idea: the two means of a row come from shuffles, so rows need no barrier. Each warp has its own dweight and dbias in shared
    memory, and the block adds the sums of its warps once, after its last row. The gradient that bypasses the normalisation is
    one more load in the second sweep. kernels/cuda/layer_norm_backward.cuh.
Source: kernels/layer_norm/backward/cuda_warp.cu.
Costs: shared memory of two rows for each warp, so long rows leave room for few warps. Rows that do not start at a multiple of
    16 bytes are moved one element at a time. In bfloat16, the eight sums of a lane are in the same banks as those of the lane
    four places on.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

WARP = 32
MOST_WARPS = 8  # of a block: more warps share more sums in shared memory
MOST_BLOCKS = 256  # about two for each multiprocessor of an A100 (108) or H100 (132); more blocks need more workspace
GROUPS = 8  # rows of threads of a block that adds up columns
SHARED = 48 * 1024  # bytes that every GPU gives a block
_ROWS = CudaKernel(__file__, "residual_layer_norm_backward_warps")
_COLUMNS = CudaKernel(__file__, "residual_layer_norm_backward_columns")


def _warps(channels):
    return min(MOST_WARPS, SHARED // (32 * ceil_div(channels, 4)))


def _blocks(rows, channels):
    return min(ceil_div(rows, _warps(channels)), MOST_BLOCKS)


def _refuses(C, **_):
    if not _warps(C):
        yield f"two rows of {C} channels do not fit {SHARED} bytes of shared memory"


@register(
    RESIDUAL_LAYER_NORM_BACKWARD,
    dtypes=DTYPES,
    tiles={"N": (MOST_WARPS,), "C": (4 * WARP, 8 * WARP)},
    workspace=lambda _threads, *, N, C: _blocks(N, C) * 2 * C if _warps(C) else 0,
    refuses=_refuses,
)
def cuda_warp(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate, workspace):
    rows, channels = residual.shape
    warps, blocks = _warps(channels), _blocks(rows, channels)
    if rows:
        args = (dy, dresidual, residual, weight, mean, rstd, dx, workspace, rows, channels)
        launch(_ROWS, blocks, warps * WARP, args, shared=warps * 32 * ceil_div(channels, 4))
    args = (workspace, dweight, dbias, blocks, channels, accumulate)
    launch(_COLUMNS, ceil_div(2 * channels, WARP), (WARP, GROUPS), args)
