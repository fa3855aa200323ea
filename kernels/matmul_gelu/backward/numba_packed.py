"""The packed matrix product with GELU's slope as its epilogue.

Builds on: numba_composed, which writes the whole product to memory and reads it back for its second pass.
Idea: a thread multiplies each chunk of the product by the slope right after it is complete, while it is still in the
    second-level cache. kernels/simd/gemm.py and gemm_epilogue.py.
Source: the epilogue DGELU of NVIDIA's cuBLASLt.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from kernels.simd.gemm import COLUMNS, ROWS, multiply, workspace_size
from registry import register


def _workspace(threads, *, N, C, O):  # noqa: E741 (O is the dim's name)
    return workspace_size(threads, rows=N, columns=C, depth=O)


@register(MATMUL_GELU_BACKWARD, tiles={"N": (ROWS,), "C": (COLUMNS,)}, workspace=_workspace)
def numba_packed(dy, weight, pre, dpre, *, workspace):
    multiply(dy, weight, dpre, workspace, gelu_slope_at=pre)
