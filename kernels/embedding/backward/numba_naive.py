"""Plain loops: every position adds its gradient to the row of its token and to the row of its position.

Idea: one thread adds the positions in order, so a token that occurs twice is no race.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, encoder_backward.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

import numpy as np

from kernels.embedding.spec import EMBEDDING_BACKWARD
from kernels.simd import naive
from registry import register


@naive
def _embedding_backward(tokens_BT, dx_BTC, dwte_RC, dwpe_LC, accumulate_wte, accumulate_wpe):
    if not accumulate_wte:
        dwte_RC[:] = np.float32(0)
    if not accumulate_wpe:
        dwpe_LC[:] = np.float32(0)
    for b in range(dx_BTC.shape[0]):
        for t in range(dx_BTC.shape[1]):
            for c in range(dx_BTC.shape[2]):
                dwte_RC[tokens_BT[b, t], c] += dx_BTC[b, t, c]
                dwpe_LC[t, c] += dx_BTC[b, t, c]


@register(EMBEDDING_BACKWARD)
def numba_naive(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    _embedding_backward(tokens, dx, dwte, dwpe, accumulate_wte, accumulate_wpe)
