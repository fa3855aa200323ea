"""Sums of chunks of rows first, then the sum of these sums.

Builds on: cuda_naive, which has one thread for each column and nothing more to keep the GPU busy.
Idea: blocks sum chunks of rows in parallel and store the sums in workspace; a second kernel adds the sums of the chunks. The
    chunks depend on the shape alone and nothing is added atomically, so every run gives the same bits.
Source: karpathy/llm.c, dev/cuda/matmul_backward_bias.cu: the strips of 32 columns are those of its fourth kernel, and the
    buffer with a second kernel is that of its ninth.
Costs: a second launch.
Dims: N = rows (batch x time), O = output channels.
"""

from kernels.cuda import ceil_div
from kernels.matmul.spec import MATMUL_BACKWARD_BIAS
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

WARP, GROUPS = 32, 8  # of a block of threads: columns, and rows that are added side by side
LEAST = 64  # rows of a chunk: eight for each of the GROUPS rows of threads
MOST_CHUNKS = 64  # the second kernel adds one row for each chunk
_COLUMNS = CudaKernel(__file__, "column_sums")
_CHUNKS = CudaKernel(__file__, "chunk_sums")


def _rows_of_a_chunk(rows):
    return max(LEAST, ceil_div(rows, MOST_CHUNKS))


def _workspace(_threads, *, N, O):  # noqa: E741 (O is the dim's name)
    return ceil_div(N, _rows_of_a_chunk(N)) * O


@register(MATMUL_BACKWARD_BIAS, dtypes=DTYPES, tiles={"O": (WARP,), "N": (GROUPS, LEAST)}, workspace=_workspace)
def cuda_two_stage(dy, dbias, *, accumulate, workspace):
    rows, columns = dy.shape
    each = _rows_of_a_chunk(rows)
    chunks, strips = ceil_div(rows, each), ceil_div(columns, WARP)
    if not columns:
        return
    if chunks:
        launch(_COLUMNS, (strips, chunks), (WARP, GROUPS), (dy, workspace, rows, columns, each))
    launch(_CHUNKS, strips, (WARP, GROUPS), (workspace, dbias, chunks, columns, accumulate))
