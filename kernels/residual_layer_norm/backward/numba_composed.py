"""The two unfused ops, one after the other.

Builds on: numba_naive, whose loops do not vectorise.
Idea: what fusion has to beat: the best layer normalisation backward, then the best sum, in place.
Source: kernels/layer_norm/backward/numba_rows.py and kernels/residual/numba_flat.py.
Costs: dx is written, read and written again.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.layer_norm.backward.numba_rows import numba_rows as layer_norm_backward
from kernels.residual.numba_flat import numba_flat as residual_sum
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM_BACKWARD
from registry import register


@register(RESIDUAL_LAYER_NORM_BACKWARD, workspace=lambda threads, N, C: threads * 2 * C)  # noqa: ARG005 (every dim is passed)
def numba_composed(dy, dresidual, residual, weight, mean, rstd, dx, dweight, dbias, *, accumulate, workspace):
    layer_norm_backward(dy, residual, weight, mean, rstd, dx, dweight, dbias, accumulate=accumulate, workspace=workspace)
    residual_sum(dresidual, dx, dx)
