"""One plain loop: the gradient of a sum goes to both of its terms.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, residual_backward.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.residual.spec import RESIDUAL_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _residual_backward(dy_NC, dx1_NC, dx2_NC, accumulate):
    for i in range(dy_NC.shape[0]):
        for j in range(dy_NC.shape[1]):
            if accumulate:
                dx1_NC[i, j] += dy_NC[i, j]
                dx2_NC[i, j] += dy_NC[i, j]
            else:
                dx1_NC[i, j] = dy_NC[i, j]
                dx2_NC[i, j] = dy_NC[i, j]


@register(RESIDUAL_BACKWARD)
def numba_naive(dy, dx1, dx2, *, accumulate):
    _residual_backward(dy, dx1, dx2, accumulate)
