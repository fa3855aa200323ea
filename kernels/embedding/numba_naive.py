"""Plain loops: every position copies the row of its token and adds the row of its place.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, encoder_forward.
"""

from kernels.embedding.spec import EMBEDDING
from kernels.simd import naive
from registry import register


@naive
def _embedding(tokens, wte, wpe, x):
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                x[b, t, c] = wte[tokens[b, t], c] + wpe[t, c]


@register(EMBEDDING)
def numba_naive(tokens, wte, wpe, x):
    _embedding(tokens, wte, wpe, x)
