"""The same three loops, each of which vectorises; threads share the rows.

Builds on: numba_naive, which computes one comparison and one exponential at a time.
Idea: the exponential is a polynomial. The maximum is taken over integers that sort as the floats do: the compiler may reorder
    an integer maximum, and NaN is kept (it sorts above everything, or below and then makes the sum NaN).
Source: the polynomial is kernels/simd/math.py; the order of IEEE 754 bit patterns is section 5.10 of the standard.
Dims: N = rows, C = classes.
"""

import numpy as np
from numba import prange

from kernels.simd import jit, parallel
from kernels.simd.math import exp
from kernels.simd.softmax import largest
from kernels.softmax.spec import SOFTMAX
from registry import register


@jit
def _row(x_C, y_C):
    top = largest(x_C)
    total = np.float32(0)
    for j in range(x_C.size):
        e = exp(x_C[j] - top)
        total += e
        y_C[j] = e
    factor = np.float32(1) / total
    for j in range(x_C.size):
        y_C[j] *= factor


@parallel
def _rows(x_NC, y_NC):
    for i in prange(x_NC.shape[0]):
        _row(x_NC[i], y_NC[i])


@register(SOFTMAX)
def numba_rows(x, y):
    _rows(x, y)
