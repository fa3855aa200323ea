"""Four neighbouring floats for each thread, or eight of bfloat16, in loads and stores of 128 bits.

Builds on: cuda_sigmoid, which issues a load and a store for every element.
Idea: the function takes less time than the memory that it moves. A quarter of the instructions, or an eighth in bfloat16,
    moves as many elements, and independent exponentials hide each other's latency.
Source: J. Luitjens, Increase performance with vectorized memory access (NVIDIA developer blog, 2013); the second kernel of
    karpathy/llm.c, dev/cuda/gelu_forward.cu.
Costs: arrays that do not start at a multiple of 16 bytes are moved one element at a time.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import PACKED_SIZES, ceil_div, packed_size
from kernels.gelu.spec import GELU
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "gelu_vector")


@register(GELU, dtypes=DTYPES, tiles={"C": PACKED_SIZES})
def cuda_vector(x, y):
    if y.size:
        launch(_KERNEL, ceil_div(y.size, THREADS * packed_size(y)), THREADS, (x, y, y.size))
