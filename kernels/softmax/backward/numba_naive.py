"""Two plain loops over each row: the sum of dy * y, then the result.

Idea: the Jacobian of softmax is diag(y) - y·yᵀ, so one dot product is enough for the whole row.
Source: the derivation is in J. S. Bridle, Neurocomputing F68 (1990), 227.
Dims: N = rows, C = classes.
"""

import numpy as np

from kernels.simd import naive
from kernels.softmax.spec import SOFTMAX_BACKWARD
from registry import register


@naive
def _softmax_backward(dy_NC, y_NC, dx_NC):
    for i in range(y_NC.shape[0]):
        along = np.float32(0)
        for j in range(y_NC.shape[1]):
            along += dy_NC[i, j] * y_NC[i, j]
        for j in range(y_NC.shape[1]):
            dx_NC[i, j] = y_NC[i, j] * (dy_NC[i, j] - along)


@register(SOFTMAX_BACKWARD)
def numba_naive(dy, y, dx):
    _softmax_backward(dy, y, dx)
