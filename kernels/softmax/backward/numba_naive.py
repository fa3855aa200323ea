"""Two plain loops over each row: the sum of dy * y, then the result.

Idea: the Jacobian of softmax is diag(y) - y·yᵀ, so that one dot product serves the whole row.
Source: the derivation is in J. S. Bridle, Neurocomputing F68 (1990), 227.
"""

import numpy as np

from kernels.simd import naive
from kernels.softmax.spec import SOFTMAX_BACKWARD
from registry import register


@naive
def _softmax_backward(dy, y, dx):
    for i in range(y.shape[0]):
        along = np.float32(0)
        for j in range(y.shape[1]):
            along += dy[i, j] * y[i, j]
        for j in range(y.shape[1]):
            dx[i, j] = y[i, j] * (dy[i, j] - along)


@register(SOFTMAX_BACKWARD)
def numba_naive(dy, y, dx):
    _softmax_backward(dy, y, dx)
