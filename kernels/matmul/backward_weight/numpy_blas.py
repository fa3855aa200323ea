"""The matrix product of a BLAS library, written to existing memory.

Builds on: numba_naive, which has three plain loops.
Idea: the transpose of dy is a flag to BLAS. numpy cannot ask BLAS to add to a result, so bands of the gradient are computed
    into scratch memory small enough for the cache and added from there.
Source: C. Lawson et al., Basic linear algebra subprograms for Fortran usage, ACM TOMS 5 (1979), 308-323; OpenBLAS.
Costs: accumulating takes several smaller products and a pass over each.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

import numpy as np

from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from registry import register

BAND = 768  # rows of the gradient: with 768 channels 2.4 MB, small against the whole gradient of 50,304 rows


def _workspace(_threads, *, C, O, **_):  # noqa: E741 (O is the dim's name)
    return min(BAND, O) * C


@register(MATMUL_BACKWARD_WEIGHT, tiles={"O": (BAND,)}, workspace=_workspace)
def numpy_blas(dy, x, dweight, *, accumulate, workspace):
    if not accumulate:
        np.matmul(dy.T, x, out=dweight)
        return
    for start in range(0, dweight.shape[0], BAND):
        rows = dweight[start : start + BAND]
        band = workspace[: rows.size].reshape(rows.shape)
        np.matmul(dy[:, start : start + BAND].T, x, out=band)
        np.add(rows, band, out=rows)
