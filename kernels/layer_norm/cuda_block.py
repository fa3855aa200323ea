"""One block of threads for each row, whose threads add up their sums in shared memory.

Builds on: cuda_naive, whose neighbouring threads read addresses that are a row apart.
Idea: neighbouring threads read neighbouring channels, so a load of a warp is contiguous. The partial sums of the threads are
    added in shared memory by a tree, in half as many threads at each level.
Source: M. Harris, Optimizing parallel reduction in CUDA (2007), for the tree; karpathy/llm.c, dev/cuda/layernorm_forward.cu,
    version 2, which has a kernel each for mean, rstd and result.
Costs: a barrier at every level of the tree, twice for each row.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.layer_norm.spec import LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "layer_norm_block")


@register(LAYER_NORM, dtypes=DTYPES, tiles={"C": (THREADS,)})
def cuda_block(x, weight, bias, y, mean, rstd, *, eps):
    rows, channels = x.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (x, weight, bias, y, mean, rstd, channels, eps))
