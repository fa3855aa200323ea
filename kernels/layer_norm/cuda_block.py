"""One block of threads for each row, which add up their shares in shared memory.

Builds on: cuda_naive, whose neighbouring threads read memory that lies a row apart.
Idea: neighbouring threads take neighbouring channels, so that a warp's load is one stretch of memory; the threads' partial
    sums meet in shared memory, in a tree that halves itself.
Source: M. Harris, Optimizing parallel reduction in CUDA (2007), for the tree; karpathy/llm.c,
    dev/cuda/layernorm_forward.cu, version 2, for its use here: there, mean, rstd and result have a kernel each.
Costs: a barrier at every level of the tree, twice for each row.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.layer_norm.spec import LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256
_KERNEL = CudaKernel(__file__, "layer_norm_block")


@register(LAYER_NORM, dtypes=DTYPES, tiles={"C": (THREADS,)})
def cuda_block(x, weight, bias, y, mean, rstd, *, eps):
    rows, channels = x.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (x, weight, bias, y, mean, rstd, channels, eps))
