"""One thread for each element: it copies or adds dy to both gradients.

Idea: the gradient of a sum goes to both of its terms.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, residual_backward, with a thread for each iteration of its loop.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual.spec import RESIDUAL_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "residual_backward_naive")


@register(RESIDUAL_BACKWARD, dtypes=DTYPES)
def cuda_naive(dy, dx1, dx2, *, accumulate):
    if dy.size:
        launch(_KERNEL, ceil_div(dy.size, THREADS), THREADS, (dy, dx1, dx2, dy.size, accumulate))
