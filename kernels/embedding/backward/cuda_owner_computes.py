"""A warp for each position; the first position of a token adds up the gradients of all positions that hold it.

Builds on: cuda_naive, in which every element of the table asks all positions, also where no token reaches its row.
Idea: whether a token stood earlier, and where it stands later, 32 positions at a time are asked by one vote of a warp. The
    warp that finds no earlier one owns the token's row of the table: no sorting, nothing atomic, and always the order of
    the positions; its sums stay in registers until they are added to the row and rounded once. A position's own row has the
    batch to add up, by a thread for each element.
Source: the need of a fixed order made karpathy/llm.c sort tokens into buckets on the host (llmc/encoder.cuh); ballots as
    in NVIDIA's CUDA C++ Programming Guide, warp vote functions.
Costs: comparisons grow with the square of the number of positions: a thirty-second of it in loads. Rows of more than 256
    channels take several rounds, each of which looks for the token again.
Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
    T, R = V + P, L = T + S.
"""

from kernels.cuda import ceil_div
from kernels.embedding.spec import EMBEDDING_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS, LANES = 256, 32
EACH = 8  # channels of a row that a lane adds up at a time
_CLEAR = CudaKernel(__file__, "clear")
_TOKENS = CudaKernel(__file__, "embedding_backward_tokens")
_POSITIONS = CudaKernel(__file__, "embedding_backward_positions")


@register(EMBEDDING_BACKWARD, dtypes=DTYPES, tiles={"T": (LANES,), "C": (LANES, LANES * EACH)})
def cuda_owner_computes(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    batch, time, channels = dx.shape
    if not accumulate_wte:
        launch(_CLEAR, ceil_div(dwte.size, THREADS), THREADS, (dwte, dwte.size))
    launch(_TOKENS, ceil_div(batch * time * LANES, THREADS), THREADS, (tokens, dx, dwte, batch * time, channels))
    args = (dx, dwpe, batch, time * channels, dwpe.size, accumulate_wpe)
    launch(_POSITIONS, ceil_div(dwpe.size, THREADS), THREADS, args)
