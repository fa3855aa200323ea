"""One plain loop.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, residual_forward.
"""

from kernels.residual.spec import RESIDUAL
from kernels.simd import naive
from registry import register


@naive
def _residual(x1, x2, y):
    for i in range(x1.shape[0]):
        for j in range(x1.shape[1]):
            y[i, j] = x1[i, j] + x2[i, j]


@register(RESIDUAL)
def numba_naive(x1, x2, y):
    _residual(x1, x2, y)
