"""The two unfused ops, one after the other.

Builds on: numba_naive, whose loops do not vectorise.
Idea: the baseline for the fused variants: the fastest sum, then the fastest layer normalisation.
Source: kernels/residual/numba_flat.py and kernels/layer_norm/numba_rows.py.
Costs: the sum is written for all rows, and read again after that.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.layer_norm.numba_rows import numba_rows as layer_norm
from kernels.residual.numba_flat import numba_flat as residual_sum
from kernels.residual_layer_norm.spec import RESIDUAL_LAYER_NORM
from registry import register


@register(RESIDUAL_LAYER_NORM)
def numba_composed(x1, x2, weight, bias, residual, y, mean, rstd, *, eps):
    residual_sum(x1, x2, residual)
    layer_norm(residual, weight, bias, y, mean, rstd, eps=eps)
