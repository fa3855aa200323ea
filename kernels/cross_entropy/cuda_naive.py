"""One thread for each row, with two plain loops: its maximum, then the sum of exponentials.

Idea: the loss is log(sum(exp(x - max))) + max - x[target], so no probability can underflow before the logarithm.
Source: karpathy/llm.c, train_gpt2.c, softmax_forward and crossentropy_forward, taken together.
Costs: a row of a vocabulary is long and rows are few, so most of the GPU is idle.
Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.
"""

from kernels.cross_entropy.spec import CROSS_ENTROPY
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # four warps, so that a small problem still spreads over several multiprocessors
_KERNEL = CudaKernel(__file__, "cross_entropy_naive")


@register(CROSS_ENTROPY, dtypes=DTYPES, tiles={"N": (THREADS,)})
def cuda_naive(logits, targets, losses, *, vocab_size):
    rows, columns = logits.shape
    args = (logits, targets, losses, rows, columns, vocab_size)
    if rows:
        launch(_KERNEL, ceil_div(rows, THREADS), THREADS, args)
