"""The fastest matrix product, then the fastest GELU: two ops in a row.

Builds on: numba_naive, which has three plain loops and a scalar tanh.
Idea: the baseline for the fused variants: a program without a fused op makes these two calls.
Source: kernels/matmul/numba_packed.py and kernels/gelu/numba_sigmoid.py.
Costs: the product is written to memory and read back.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.gelu.numba_sigmoid import numba_sigmoid
from kernels.matmul.numba_packed import numba_packed
from kernels.matmul_gelu.spec import MATMUL_GELU
from kernels.simd.gemm import workspace_size
from registry import register


def _workspace(threads, *, N, C, O):  # noqa: E741 (O is the dim's name)
    return workspace_size(threads, rows=N, columns=O, depth=C)


@register(MATMUL_GELU, workspace=_workspace)
def numba_composed(x, weight, bias, pre, y, *, workspace):
    numba_packed(x, weight, bias, pre, workspace=workspace)
    numba_sigmoid(pre, y)
