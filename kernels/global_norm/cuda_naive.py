"""One block of threads goes over all elements; the first thread adds up what the others found.

Idea: a hundred million squares lose half their digits in a float32 sum, and overflow it where the norm would not: each
    thread adds up in double precision.
Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 4.2.
Costs: all but one of the GPU's multiprocessors stand idle.
Dims: K = gradients.
"""

from kernels.global_norm.spec import GLOBAL_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256
_KERNEL = CudaKernel(__file__, "global_norm_naive")


@register(GLOBAL_NORM, dtypes=DTYPES, tiles={"K": (THREADS,)})
def cuda_naive(grad, norm):
    launch(_KERNEL, 1, THREADS, (grad, norm, grad.size))
