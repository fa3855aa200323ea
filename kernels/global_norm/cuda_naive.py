"""One block of threads reads all elements; its first thread adds up the sums of the others.

Idea: a float32 sum of a hundred million squares loses half its digits, and may overflow where the norm would not, so each
    thread adds in double.
Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 4.2.
Costs: all but one of the GPU's multiprocessors are idle.
Dims: K = gradients.
"""

from kernels.global_norm.spec import GLOBAL_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "global_norm_naive")


@register(GLOBAL_NORM, dtypes=DTYPES, tiles={"K": (THREADS,)})
def cuda_naive(grad, norm):
    launch(_KERNEL, 1, THREADS, (grad, norm, grad.size))
