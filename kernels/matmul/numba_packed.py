"""Packed panels, and a tile of the result in vector registers.

Builds on: numba_tiles, whose tile is as large as the compiler allows, and which reads its operands in their own layout.
Idea: rearrange blocks of both matrices into panels that are read strictly in order, and keep 8 x 48 sums (with AVX-512) in
    registers: eleven loads for 24 vector multiplications. The sums start from the bias. kernels/simd/gemm.py.
Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008), 12:1-12:25.
Costs: scratch memory for the panels.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.matmul.spec import MATMUL
from kernels.simd.gemm import COLUMNS, ROWS, multiply, workspace_size
from registry import register


def _workspace(threads, *, N, C, O):  # noqa: E741 (O is the dim's name)
    return workspace_size(threads, rows=N, columns=O, depth=C)


@register(MATMUL, tiles={"N": (ROWS,), "O": (COLUMNS,)}, workspace=_workspace)
def numba_packed(x, weight, bias, y, *, workspace):
    multiply(x, weight.T, y, workspace, bias=bias)
