"""Four neighbouring floats for each thread, or eight of bfloat16, in loads and stores of 128 bits.

Builds on: cuda_naive, which issues up to five instructions to memory for every element.
Idea: a quarter of the instructions moves as many floats, and an eighth as many elements of bfloat16. A thread tests once for
    all its elements whether to accumulate.
Source: J. Luitjens, Increase performance with vectorized memory access (NVIDIA developer blog, 2013).
Costs: arrays that do not start at a multiple of 16 bytes are moved one element at a time.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import PACKED_SIZES, ceil_div, packed_size
from kernels.residual.spec import RESIDUAL_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "residual_backward_vector")


@register(RESIDUAL_BACKWARD, dtypes=DTYPES, tiles={"C": PACKED_SIZES})
def cuda_vector(dy, dx1, dx2, *, accumulate):
    if dy.size:
        launch(_KERNEL, ceil_div(dy.size, THREADS * packed_size(dy)), THREADS, (dy, dx1, dx2, dy.size, accumulate))
