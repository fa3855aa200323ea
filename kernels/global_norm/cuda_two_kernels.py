"""Every block sums the squares of its share of the elements; a second kernel adds the sums up.

Builds on: cuda_naive, which uses one block, since blocks of one launch cannot wait for each other.
Idea: the end of a kernel is the barrier between blocks. The first kernel stores one number for each block in workspace. The
    second adds them in an order that depends on the number of elements alone; atomic additions would come in any order.
Source: M. Harris, Optimizing parallel reduction in CUDA (2007), on kernel decomposition; karpathy/llm.c,
    llmc/global_norm.cuh, which avoids atomic addition in the same way.
Costs: double precision runs at 1/64 of the float32 rate on consumer GPUs, which is still as fast as their memory.
Dims: K = gradients.
"""

from kernels.cuda import PACKED_SIZES, ceil_div, packed_size
from kernels.global_norm.spec import GLOBAL_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
MOST_BLOCKS = 1024  # about eight for each multiprocessor of an A100 (108) or H100 (132): all that are resident
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
