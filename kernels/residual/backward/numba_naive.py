"""One plain loop: the gradient of a sum goes to both of its terms.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, residual_backward.
"""

from kernels.residual.spec import RESIDUAL_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _residual_backward(dy, dx1, dx2, accumulate):
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            if accumulate:
                dx1[i, j] += dy[i, j]
                dx2[i, j] += dy[i, j]
            else:
                dx1[i, j] = dy[i, j]
                dx2[i, j] = dy[i, j]


@register(RESIDUAL_BACKWARD)
def numba_naive(dy, dx1, dx2, *, accumulate):
    _residual_backward(dy, dx1, dx2, accumulate)
