"""Packed panels, and a tile of the gradient in vector registers.

Builds on: numba_tiles, which loads and stores a sum for every four multiplications.
Idea: the sums of a tile stay in registers for the whole depth of a panel, and both operands are rearranged into the order in
    which the tile reads them. kernels/simd/gemm.py.
Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008), 12:1-12:25.
Costs: scratch memory for the panels.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.matmul.spec import MATMUL_BACKWARD_INPUT
from kernels.simd.gemm import COLUMNS, ROWS, multiply, workspace_size
from registry import register


def _workspace(threads, *, N, C, O):  # noqa: E741 (O is the dim's name)
    return workspace_size(threads, rows=N, columns=C, depth=O)


@register(MATMUL_BACKWARD_INPUT, tiles={"N": (ROWS,), "C": (COLUMNS,)}, workspace=_workspace)
def numba_packed(dy, weight, dx, *, workspace):
    multiply(dy, weight, dx, workspace)
