"""Each block reads several rows and keeps its own sums for both parameter gradients; a second kernel adds these up.

Builds on: cuda_naive, which reads dy and x once for the rows and once more for the channels.
Idea: the threads of a block share a row, and each thread owns the same channels in every row. So its sums of dweight and
    dbias need no atomics: they stay in shared memory, and go to workspace once, after the last row of the block.
    kernels/cuda/layer_norm_backward.cuh.
Source: the partial sums of karpathy/llm.c, dev/cuda/layernorm_backward.cu, whose later kernels keep them in shared memory.
Costs: workspace of two rows for each block, and four barriers for each row.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.layer_norm.spec import LAYER_NORM_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
MOST_BLOCKS = 256  # about two for each multiprocessor of an A100 (108) or H100 (132); more blocks need more workspace
WARP, GROUPS = 32, 8  # threads of a block that adds up columns
SHARED = 48 * 1024 - 64  # bytes for the sums that every GPU gives a block
_ROWS = CudaKernel(__file__, "layer_norm_backward_rows")
_COLUMNS = CudaKernel(__file__, "layer_norm_backward_columns")


def _refuses(C, **_):
    if 2 * C * 4 > SHARED:
        yield f"two rows of {C} channels do not fit {SHARED} bytes of shared memory"


@register(
    LAYER_NORM_BACKWARD,
    dtypes=DTYPES,
    tiles={"N": (MOST_BLOCKS,), "C": (WARP, THREADS)},
    workspace=lambda _threads, *, N, C: min(N, MOST_BLOCKS) * 2 * C,
    refuses=_refuses,
)
def cuda_partials(dy, x, weight, mean, rstd, dx, dweight, dbias, *, accumulate, workspace):
    rows, channels = x.shape
    blocks = min(rows, MOST_BLOCKS)
    if rows:
        args = (dy, x, weight, mean, rstd, dx, workspace, rows, channels)
        launch(_ROWS, blocks, THREADS, args, shared=2 * channels * 4)
    args = (workspace, dweight, dbias, blocks, channels, accumulate)
    launch(_COLUMNS, ceil_div(2 * channels, WARP), (WARP, GROUPS), args)
