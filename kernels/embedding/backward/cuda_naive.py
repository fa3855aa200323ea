"""One thread for each element of both tables, which asks all positions whether their gradient belongs to it.

Idea: turn the sum around: where a position would add to the row of its token, an element collects what is its own. No two
    threads meet at a token that occurs twice, the order of summation is that of the positions, and the sum stays in a
    register until it is stored, rounded once.
Source: the second kernel of karpathy/llm.c, dev/cuda/encoder_backward.cu, has a thread for each channel, which adds to the
    table position by position; a table in bfloat16 would be rounded at every step of that.
Costs: the tokens are read by every element of the table, also by those that no token reaches.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

from kernels.cuda import ceil_div
from kernels.embedding.spec import EMBEDDING_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256
_TOKENS = CudaKernel(__file__, "embedding_backward_tokens_naive")
_POSITIONS = CudaKernel(__file__, "embedding_backward_positions_naive")


@register(EMBEDDING_BACKWARD, dtypes=DTYPES)
def cuda_naive(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    batch, time, channels = dx.shape
    args = (tokens, dx, dwte, batch * time, channels, dwte.size, accumulate_wte)
    launch(_TOKENS, ceil_div(dwte.size, THREADS), THREADS, args)
    args = (dx, dwpe, batch * time, time, channels, dwpe.size, accumulate_wpe)
    launch(_POSITIONS, ceil_div(dwpe.size, THREADS), THREADS, args)
