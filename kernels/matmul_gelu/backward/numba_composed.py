"""The fastest input gradient of the matrix product, then the fastest backward GELU: two ops in a row.

Builds on: numba_naive, which has three plain loops and a scalar tanh.
Idea: the baseline for the fused variants: a program without a fused op makes these two calls.
Source: kernels/matmul/backward_input/numba_packed.py and kernels/gelu/backward/numba_sigmoid.py.
Costs: the product is written to scratch memory and read back.
Dims: N = rows (batch x time), C = input channels, O = output channels.
"""

from kernels.gelu.backward.numba_sigmoid import numba_sigmoid
from kernels.matmul.backward_input.numba_packed import numba_packed
from kernels.matmul_gelu.spec import MATMUL_GELU_BACKWARD
from kernels.simd.gemm import workspace_size
from registry import register


def _workspace(threads, *, N, C, O):  # noqa: E741 (O is the dim's name)
    return N * C + workspace_size(threads, rows=N, columns=C, depth=O)


@register(MATMUL_GELU_BACKWARD, workspace=_workspace)
def numba_composed(dy, weight, pre, dpre, *, workspace):
    product = workspace[: dpre.size].reshape(dpre.shape)
    numba_packed(dy, weight, product, workspace=workspace[dpre.size :])
    numba_sigmoid(product, pre, dpre)
