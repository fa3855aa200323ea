"""Four neighbouring floats for each thread, or eight of bfloat16, in loads and stores of 128 bits.

Builds on: cuda_naive, which issues three instructions to memory for every addition.
Idea: the sum only moves memory. A quarter of the instructions moves as many floats, and an eighth as many elements of
    bfloat16.
Source: J. Luitjens, Increase performance with vectorized memory access (NVIDIA developer blog, 2013); the second kernel of
    karpathy/llm.c, dev/cuda/residual_forward.cu.
Costs: arrays that do not start at a multiple of 16 bytes are moved one element at a time.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import PACKED_SIZES, ceil_div, packed_size
from kernels.residual.spec import RESIDUAL
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "residual_vector")


@register(RESIDUAL, dtypes=DTYPES, tiles={"C": PACKED_SIZES})
def cuda_vector(x1, x2, y):
    if y.size:
        launch(_KERNEL, ceil_div(y.size, THREADS * packed_size(y)), THREADS, (x1, x2, y, y.size))
