"""Every block sums the squares of its share of the elements; a second kernel adds the shares up.

Builds on: cuda_naive, which uses one block, since blocks of one launch cannot wait for each other.
Idea: the end of a kernel is the barrier between blocks: the first leaves one number for each block in workspace, the second
    adds these in an order that only the number of elements decides, where atomic additions would come in any order.
Source: M. Harris, Optimizing parallel reduction in CUDA (2007), on kernel decomposition; karpathy/llm.c,
    llmc/global_norm.cuh, which avoids atomic addition in the same way.
Costs: double precision runs at 1/64 of the float32 rate on consumer GPUs, which still keeps up with their memory.
Dims: K = gradients.
"""

from kernels.cuda import PACKED_SIZES, ceil_div, packed_size
from kernels.global_norm.spec import GLOBAL_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS, MOST_BLOCKS = 256, 1024
_SQUARES = CudaKernel(__file__, "global_norm_squares")
_TOTAL = CudaKernel(__file__, "global_norm_total")


def _blocks(size, each):
    return min(ceil_div(size, THREADS * each), MOST_BLOCKS)


@register(
    GLOBAL_NORM,
    dtypes=DTYPES,
    tiles={"K": tuple(THREADS * each for each in PACKED_SIZES)},
    workspace=lambda _threads, *, K: 2 * _blocks(K, min(PACKED_SIZES)) + 1,  # bfloat16 needs half of it
)
def cuda_two_kernels(grad, norm, *, workspace):
    blocks = _blocks(grad.size, packed_size(grad))
    if blocks:
        launch(_SQUARES, blocks, THREADS, (grad, workspace, grad.size))
    launch(_TOTAL, 1, THREADS, (workspace, norm, blocks))
