"""The packed matrix product with GELU as its epilogue.

Builds on: numba_composed, which reads the whole product back from memory for its second pass.
Idea: a thread computes the GELU of each chunk of the product right after it is complete, while it is still in the
    second-level cache. kernels/simd/gemm.py and gemm_epilogue.py.
Source: the epilogues of NVIDIA's cuBLASLt (GELU_AUX_BIAS), which also return both the product and its GELU.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.matmul_gelu.spec import MATMUL_GELU
from kernels.simd.gemm import COLUMNS, ROWS, multiply, workspace_size
from registry import register


def _workspace(threads, *, N, C, O):  # noqa: E741 (O is the dim's name)
    return workspace_size(threads, rows=N, columns=O, depth=C)


@register(MATMUL_GELU, tiles={"N": (ROWS,), "O": (COLUMNS,)}, workspace=_workspace)
def numba_packed(x, weight, bias, pre, y, *, workspace):
    multiply(x, weight.T, pre, workspace, bias=bias, gelu=y)
