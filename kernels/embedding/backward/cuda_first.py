"""A warp for each position; the first position of a token adds up the gradients of all positions that hold it.

Builds on: cuda_naive, which has one thread for each channel and takes one position after the other.
Idea: whether a token stood earlier, and where it stands later, 32 positions at a time are asked by one vote of a warp. The
    warp that finds no earlier one owns the token's row of the table: no sorting, nothing atomic, and always the order of
    the positions. A position's own row has the batch to add up, by a thread for each element.
Source: the need of a fixed order made karpathy/llm.c sort tokens into buckets on the host (llmc/encoder.cuh); ballots as
    in NVIDIA's CUDA C++ Programming Guide, warp vote functions.
Costs: comparisons grow with the square of the number of positions: a thirty-second of it in loads.
"""

from kernels.cuda import ceil_div
from kernels.embedding.spec import EMBEDDING_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS, LANES, EACH = 256, 32, 8  # the channels of a row that a lane adds up at a time
_CLEAR = CudaKernel(__file__, "clear")
_TOKENS = CudaKernel(__file__, "embedding_backward_tokens")
_POSITIONS = CudaKernel(__file__, "embedding_backward_positions")


@register(EMBEDDING_BACKWARD, dtypes=DTYPES, tiles={"T": (LANES,), "C": (LANES, LANES * EACH)})
def cuda_first(tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    batch, time, channels = dx.shape
    if not accumulate_wte:
        launch(_CLEAR, ceil_div(dwte.size, THREADS), THREADS, (dwte, dwte.size))
    launch(_TOKENS, ceil_div(batch * time * LANES, THREADS), THREADS, (tokens, dx, dwte, batch * time, channels))
    args = (dx, dwpe, batch, time * channels, dwpe.size, accumulate_wpe)
    launch(_POSITIONS, ceil_div(dwpe.size, THREADS), THREADS, args)
