"""Four neighbouring channels for each thread, or eight of bfloat16, in loads and stores of 128 bits.

Builds on: cuda_naive, which divides and looks up the token for every element.
Idea: neighbouring channels share their position, so one lookup serves them, and one instruction moves them.
Source: the third kernel of karpathy/llm.c, dev/cuda/encoder_forward.cu.
Costs: rows that do not start at a multiple of 16 bytes are moved one element at a time.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

from kernels.cuda import PACKED_SIZES, ceil_div, packed_size
from kernels.embedding.spec import EMBEDDING
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "embedding_vector")


@register(EMBEDDING, dtypes=DTYPES, tiles={"C": PACKED_SIZES})
def cuda_vector(tokens, wte, wpe, x):
    batch, time, channels = x.shape
    packs = batch * time * ceil_div(channels, packed_size(x))
    if packs:
        launch(_KERNEL, ceil_div(packs, THREADS), THREADS, (tokens, wte, wpe, x, packs, time, channels))
