"""One thread for each element, with tanh of the CUDA library.

Idea: with t = tanh(u), the derivative is (1 + t) / 2 + x (1 - t*t) u' / 2.
Source: the first kernel of karpathy/llm.c, dev/cuda/gelu_backward.cu, which takes 1 / cosh(u)**2 for 1 - t*t.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.gelu.spec import GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "gelu_backward_naive")


@register(GELU_BACKWARD, dtypes=DTYPES)
def cuda_naive(dy, x, dx):
    if dx.size:
        launch(_KERNEL, ceil_div(dx.size, THREADS), THREADS, (dy, x, dx, dx.size))
