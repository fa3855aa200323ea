"""One thread for each element, with tanh of the CUDA library.

Idea: write the reference as one kernel.
Source: the first kernel of karpathy/llm.c, dev/cuda/gelu_forward.cu.
Costs: tanhf computes an exponential, a division and a polynomial, with a branch between them.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.gelu.spec import GELU
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "gelu_naive")


@register(GELU, dtypes=DTYPES)
def cuda_naive(x, y):
    if y.size:
        launch(_KERNEL, ceil_div(y.size, THREADS), THREADS, (x, y, y.size))
