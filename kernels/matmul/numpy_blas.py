"""The matrix product of a BLAS library, written to existing memory.

Builds on: numba_naive, which has three plain loops.
Idea: numpy passes float32 matrices to BLAS without a copy, and a transpose is only a flag. The bias is a second pass.
Source: C. Lawson et al., Basic linear algebra subprograms for Fortran usage, ACM TOMS 5 (1979), 308-323; OpenBLAS.
Costs: the result is written twice.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np

from kernels.matmul.spec import MATMUL
from registry import register


@register(MATMUL)
def numpy_blas(x, weight, bias, y):
    np.matmul(x, weight.T, out=y)
    np.add(y, bias, out=y)
