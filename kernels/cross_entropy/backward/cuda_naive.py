"""One thread for each row: maximum, sum of exponentials, then the gradient over the logits.

Idea: p - onehot needs each probability once, so the gradient replaces the logits and no other array of that size exists.
Source: karpathy/llm.c, train_gpt2.c, crossentropy_softmax_backward.
Costs: a row of a vocabulary is long and rows are few, so most of the GPU is idle.
Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
"""

from kernels.cross_entropy.spec import CROSS_ENTROPY_BACKWARD
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_KERNEL = CudaKernel(__file__, "cross_entropy_backward_naive")


@register(CROSS_ENTROPY_BACKWARD, dtypes=DTYPES, tiles={"N": (THREADS,)})
def cuda_naive(targets, losses, logits, *, vocab_size, scale):
    rows, columns = logits.shape
    args = (targets, losses, logits, rows, columns, vocab_size, scale)
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, args)
