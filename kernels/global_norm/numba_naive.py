"""One plain loop with a running sum in double precision.

Idea: a float32 sum of a hundred million squares loses half its digits, and may overflow where the norm would not, so the sum
    is double.
Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 4.2.
Dims: K = gradients.
"""

import numpy as np

from kernels.global_norm.spec import GLOBAL_NORM
from kernels.simd import naive
from registry import register


@naive
def _global_norm(grad_K, norm):
    total = np.float64(0)
    for k in range(grad_K.size):
        g = np.float64(grad_K[k])
        total += g * g
    norm[0] = np.sqrt(total)


@register(GLOBAL_NORM)
def numba_naive(grad, norm):
    _global_norm(grad, norm)
