"""One block for each row, in loads and stores of 128 bits: for rows as long as a vocabulary.

Builds on: cuda_online, in which one warp goes over a row alone, 32 elements at a time.
Idea: eight warps share the row and merge their pairs of maximum and sum in shared memory; the row of 200 KB that one block
    has just read is still in the second-level cache when it is read again.
Source: karpathy/llm.c, llmc/fused_classifier.cuh, prepare_softmax_blockwide3, for a block's online sweep in 128 bits; the
    seventh kernel of dev/cuda/softmax_forward.cu, made for such rows too, sweeps once for the maximum and again for the sum.
Costs: a short row leaves most of the block idle; rows that do not start at a multiple of 16 bytes move by single floats.
Dims: N = rows, C = classes.
"""

from kernels.softmax.spec import SOFTMAX
from registry import register
from registry.cuda import CudaKernel, launch

THREADS, EACH = 256, 4
_KERNEL = CudaKernel(__file__, "softmax_block")


@register(SOFTMAX, tiles={"C": (EACH, THREADS * EACH)})
def cuda_block(x, y):
    rows, classes = x.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (x, y, classes))
