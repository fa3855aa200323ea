"""Packed panels, and a tile of the gradient in vector registers.

Builds on: numba_tiles, which loads and stores a sum for every four multiplications.
Idea: the sums of a tile stay in registers for the whole depth of a panel, and are added to the gradient that is there, or to
    zeros, when the tile is stored. kernels/simd/gemm.py.
Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008), 12:1-12:25.
Costs: scratch memory for the panels.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.matmul.spec import MATMUL_BACKWARD_WEIGHT
from kernels.simd.gemm import COLUMNS, ROWS, multiply, workspace_size
from registry import register


def _workspace(threads, *, N, C, O):  # noqa: E741 (O is the dim's name)
    return workspace_size(threads, rows=O, columns=C, depth=N)


@register(MATMUL_BACKWARD_WEIGHT, tiles={"O": (ROWS,), "C": (COLUMNS,)}, workspace=_workspace)
def numba_packed(dy, x, dweight, *, accumulate, workspace):
    multiply(dy.T, x, dweight, workspace, accumulate=accumulate)
