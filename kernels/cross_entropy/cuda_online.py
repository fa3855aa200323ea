"""One block for each row, which finds maximum and sum in one read of the logits.

Builds on: cuda_naive, which reads each row twice, with one thread.
Idea: each thread keeps a running sum relative to the largest logit so far. Shuffles merge the pairs of maximum and sum within
    a warp, and shared memory merges them between warps. The logits are read once, in loads of 128 bits, and nothing else of
    that size is read or written.
Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, arXiv:1805.02867; the forward half of
    karpathy/llm.c, llmc/fused_classifier.cuh, prepare_softmax_blockwide3.
Costs: rows that do not start at a multiple of 16 bytes move one element at a time.
Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
"""

from kernels.cross_entropy.spec import CROSS_ENTROPY
from kernels.cuda import PACKED_SIZES
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "cross_entropy_online")


@register(CROSS_ENTROPY, dtypes=DTYPES, tiles={"V": (*PACKED_SIZES, *(THREADS * each for each in PACKED_SIZES))})
def cuda_online(logits, targets, losses, *, vocab_size):
    rows, columns = logits.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (logits, targets, losses, columns, vocab_size))
