"""Plain loops: every position copies the row of its token and adds the row of its position.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, encoder_forward.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

from kernels.embedding.spec import EMBEDDING
from kernels.simd import naive
from registry import register


@naive
def _embedding(tokens_BT, wte_RC, wpe_LC, x_BTC):
    for b in range(x_BTC.shape[0]):
        for t in range(x_BTC.shape[1]):
            for c in range(x_BTC.shape[2]):
                x_BTC[b, t, c] = wte_RC[tokens_BT[b, t], c] + wpe_LC[t, c]


@register(EMBEDDING)
def numba_naive(tokens, wte, wpe, x):
    _embedding(tokens, wte, wpe, x)
