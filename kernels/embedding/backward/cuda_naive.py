"""One thread for each element of both tables, which reads all positions to find the gradients that belong to it.

Idea: reverse the sum: a position does not add to the row of its token, but an element collects its own gradients. No two
    threads add to one element when a token occurs twice. The order of summation is that of the positions. The sum stays in a
    register until it is stored, rounded once.
Source: the second kernel of karpathy/llm.c, dev/cuda/encoder_backward.cu, has a thread for each channel, which adds to the
    table position by position; a table in bfloat16 would be rounded at every step.
Costs: every element of the table reads all tokens, also an element whose row belongs to no token of the batch.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

from kernels.cuda import ceil_div
from kernels.embedding.spec import EMBEDDING_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_TOKENS = CudaKernel(__file__, "embedding_backward_tokens_naive")
_POSITIONS = CudaKernel(__file__, "embedding_backward_positions_naive")


@register(EMBEDDING_BACKWARD, dtypes=DTYPES)
def cuda_naive(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    batch, time, channels = dx.shape
    args = (tokens, dx, dwte, batch * time, channels, dwte.size, accumulate_wte)
    launch(_TOKENS, ceil_div(dwte.size, THREADS), THREADS, args)
    args = (dx, dwpe, batch * time, time, channels, dwpe.size, accumulate_wpe)
    launch(_POSITIONS, ceil_div(dwpe.size, THREADS), THREADS, args)
