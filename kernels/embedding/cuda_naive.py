"""One thread for each element of the result.

Idea: write the reference as one kernel: a thread finds its position and channel, looks up the token, and adds two elements.
Source: the second kernel of karpathy/llm.c, dev/cuda/encoder_forward.cu.
Costs: two divisions and a lookup of the token for every element.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

from kernels.cuda import ceil_div
from kernels.embedding.spec import EMBEDDING
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "embedding_naive")


@register(EMBEDDING, dtypes=DTYPES)
def cuda_naive(tokens, wte, wpe, x):
    _, time, channels = x.shape
    if x.size:
        launch(_KERNEL, ceil_div(x.size, THREADS), THREADS, (tokens, wte, wpe, x, x.size, time, channels))
