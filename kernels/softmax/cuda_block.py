"""One block for each row, in loads and stores of 128 bits: for rows as long as a vocabulary.

Builds on: cuda_online, in which one warp reads a row alone, 32 elements at a time.
Idea: eight warps share the row and merge their pairs of maximum and sum in shared memory. A row of 200 KB that a block has
    just read is still in the second-level cache when the block reads it again.
Source: karpathy/llm.c, llmc/fused_classifier.cuh, prepare_softmax_blockwide3, for a block's online sweep in 128 bits; the
    seventh kernel of dev/cuda/softmax_forward.cu, also for long rows, sweeps once for the maximum and again for the sum.
Costs: a short row leaves most of the block idle; rows that do not start at a multiple of 16 bytes move by single floats.
Dims: N = rows, C = classes.
"""

from kernels.softmax.spec import SOFTMAX
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
EACH = 4  # elements of a thread: 128 bits hold four floats
_KERNEL = CudaKernel(__file__, "softmax_block")


@register(SOFTMAX, tiles={"C": (EACH, THREADS * EACH)})
def cuda_block(x, y):
    rows, classes = x.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (x, y, classes))
