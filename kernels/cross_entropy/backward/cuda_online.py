"""The fused classifier: one block reads a row once for its loss, and once more to put the gradient in its place.

Builds on: cuda_naive, which reads each row three times, with one thread.
Idea: one online sweep finds maximum and sum. The second sweep reads the row from the cache and replaces each logit by p -
    onehot. No array of probabilities exists; with a vocabulary of 50,000 it would be the largest array of the training step.
Source: karpathy/llm.c, llmc/fused_classifier.cuh, whose comments describe the race between the read of the loss and the write
    of the gradient; M. Milakov and N. Gimelshein, arXiv:1805.02867, for the online sweep.
Costs: rows that do not start at a multiple of 16 bytes move one element at a time.
Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
"""

from kernels.cross_entropy.spec import CROSS_ENTROPY_BACKWARD
from kernels.cuda import PACKED_SIZES
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "cross_entropy_backward_online")


@register(CROSS_ENTROPY_BACKWARD, dtypes=DTYPES, tiles={"V": (*PACKED_SIZES, *(THREADS * each for each in PACKED_SIZES))})
def cuda_online(targets, losses, logits, *, vocab_size, scale):
    rows, columns = logits.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (targets, losses, logits, columns, vocab_size, scale))
