"""Plain loops: every position adds its gradient to the row of its token and to the row of its place.

Idea: one thread takes the positions in order, so that tokens that occur twice are no race.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, encoder_backward.
"""

import numpy as np

from kernels.embedding.spec import EMBEDDING_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _embedding_backward(tokens, dx, dwte, dwpe, accumulate_wte, accumulate_wpe):
    if not accumulate_wte:
        dwte[:] = np.float32(0)
    if not accumulate_wpe:
        dwpe[:] = np.float32(0)
    for b in range(dx.shape[0]):
        for t in range(dx.shape[1]):
            for c in range(dx.shape[2]):
                dwte[tokens[b, t], c] += dx[b, t, c]
                dwpe[t, c] += dx[b, t, c]


@register(EMBEDDING_BACKWARD)
def numba_naive(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    _embedding_backward(tokens, dx, dwte, dwpe, accumulate_wte, accumulate_wpe)
