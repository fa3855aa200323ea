"""One thread for each element.

Idea: write the reference as one kernel; a sum does not depend on the rows.
Source: the first kernel of karpathy/llm.c, dev/cuda/residual_forward.cu.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.residual.spec import RESIDUAL
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "residual_naive")


@register(RESIDUAL, dtypes=DTYPES)
def cuda_naive(x1, x2, y):
    if y.size:
        launch(_KERNEL, ceil_div(y.size, THREADS), THREADS, (x1, x2, y, y.size))
