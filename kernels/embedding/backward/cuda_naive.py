"""One thread for each channel goes over all positions in order.

Idea: a thread that owns a column of both tables never meets another one, so that tokens that occur twice are no race, and
    the order of summation is that of the positions.
Source: the second kernel of karpathy/llm.c, dev/cuda/encoder_backward.cu; the first adds atomically instead.
Costs: there are no more threads than channels, and one position is finished before the next begins.
"""

from kernels.cuda import ceil_div
from kernels.embedding.spec import EMBEDDING_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 64
_KERNEL = CudaKernel(__file__, "embedding_backward_naive")


@register(EMBEDDING_BACKWARD, tiles={"C": (THREADS,)})
def cuda_naive(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    batch, time, channels = dx.shape
    sizes = batch, time, channels, dwte.shape[0], dwpe.shape[0]
    args = (tokens, dx, dwte, dwpe, *sizes, accumulate_wte, accumulate_wpe)
    launch(_KERNEL, ceil_div(channels, THREADS), THREADS, args)
