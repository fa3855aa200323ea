"""Each block walks over rows and keeps a dweight of its own in shared memory; a second kernel adds these up.

Builds on: cuda_naive, which reads dy and x once for the rows and once more for the channels.
Idea: the threads of a block share a row in vectors of 16 bytes, and each thread owns the same channels in every row. Its sums
    of dweight need no atomic addition, and go to workspace once, after the last row of the block.
Source: the partial sums of karpathy/llm.c, dev/cuda/layernorm_backward.cu, whose later kernels keep them in shared memory;
    kernels/layer_norm/backward/cuda_partials.py.
Costs: workspace of a row for each block, and two barriers for each row. Rows that do not start at a multiple of 16 bytes move
    one element at a time. In bfloat16, the eight sums of a thread are in the same banks as those of the thread four places
    on. The registers of the first kernel limit a multiprocessor to seven blocks in float32; the launch has about two.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.rms_norm.spec import RMS_NORM_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # a row of Llama-2-7B is eight vectors for each thread in float32, four in bfloat16
SWEEP = 8 * THREADS  # bfloat16 that a block moves in one turn of its loops; in float32 it takes two turns
MOST_BLOCKS = 256  # about two for each multiprocessor of an A100 (108) or H100 (132); more of them add to the workspace
WARP, GROUPS = 32, 8  # threads of a block that adds up columns
SHARED = 48 * 1024 - 64  # bytes that every GPU gives a block, less the shares of a sum
_ROWS = CudaKernel(__file__, "rms_norm_backward_rows")
_COLUMNS = CudaKernel(__file__, "rms_norm_backward_columns")


def _bytes(channels):
    return ceil_div(channels, 4) * 16


def _refuses(C, **_):
    if _bytes(C) > SHARED:
        yield f"a row of {C} channels in float32 does not fit {SHARED} bytes of shared memory"


@register(
    RMS_NORM_BACKWARD,
    dtypes=DTYPES,
    tiles={"N": (MOST_BLOCKS,), "C": (4, 8, WARP, THREADS, SWEEP, SWEEP + 8)},
    workspace=lambda _threads, *, N, C: min(N, MOST_BLOCKS) * C,
    refuses=_refuses,
)
def cuda_partials(dy, x, weight, rstd, dx, dweight, *, accumulate, workspace):
    rows, channels = x.shape
    blocks = min(rows, MOST_BLOCKS)
    if rows:
        args = (dy, x, weight, rstd, dx, workspace, rows, channels)
        launch(_ROWS, blocks, THREADS, args, shared=_bytes(channels))
    launch(_COLUMNS, ceil_div(channels, WARP), (WARP, GROUPS), (workspace, dweight, blocks, channels, accumulate))
