"""One plain loop.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, residual_forward.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.residual.spec import RESIDUAL
from kernels.simd import naive
from registry import register


@naive
def _residual(x1_NC, x2_NC, y_NC):
    for i in range(x1_NC.shape[0]):
        for j in range(x1_NC.shape[1]):
            y_NC[i, j] = x1_NC[i, j] + x2_NC[i, j]


@register(RESIDUAL)
def numba_naive(x1, x2, y):
    _residual(x1, x2, y)
