"""The derivative by one exponential, for four neighbouring floats in each thread, or eight of bfloat16.

Builds on: cuda_naive, which waits for tanhf and issues three instructions to memory for every element.
Idea: with s the logistic function of 2u, the derivative is s + x s (1 - s) 2u', and 1 - s = e / (1 + e) where e = exp(-2|u|):
    no branch, no difference of nearly equal numbers, no overflow. Loads and stores of 128 bits are then enough to keep memory
    busy.
Source: the identity is that of D. Hendrycks and K. Gimpel, arXiv:1606.08415, section 2;
    kernels/gelu/backward/numba_sigmoid.py is the same formula on the CPU.
Costs: arrays that do not start at a multiple of 16 bytes are moved one element at a time.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import PACKED_SIZES, ceil_div, packed_size
from kernels.gelu.spec import GELU_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "gelu_backward_vector")


@register(GELU_BACKWARD, dtypes=DTYPES, tiles={"C": PACKED_SIZES})
def cuda_vector(dy, x, dx):
    if dx.size:
        launch(_KERNEL, ceil_div(dx.size, THREADS * packed_size(dx)), THREADS, (dy, x, dx, dx.size))
