"""A warp for each position; the first position of a token owns the row of the token and adds up all its gradients.

Builds on: cuda_naive, in which every element of the table reads all tokens, also where no token reaches its row.
Idea: owner computes: one vote of a warp compares 32 positions at a time, first with the earlier positions and then with the
    later ones. The warp that finds no earlier position with its token owns the row of the token. So there is no sorting and
    nothing atomic, and the order is always that of the positions. Its sums stay in registers until they are added to the row
    and rounded once. For the table of positions, a thread for each element adds over the batch.
Source: karpathy/llm.c needs a fixed order too, and sorts tokens into buckets on the CPU (llmc/encoder.cuh); ballots as in
    NVIDIA's CUDA C++ Programming Guide, warp vote functions.
Costs: comparisons grow with the square of the number of positions, and loads with a thirty-second of it. Rows of more than
    256 channels take several rounds, each of which looks for the token again.
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
