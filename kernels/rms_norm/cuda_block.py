"""One block for each row; the row moves in vectors of 16 bytes, and is read from global memory once.

Builds on: cuda_naive, whose neighbouring threads read addresses that lie a row apart, and which reads each row twice.
Idea: neighbouring threads take neighbouring vectors of 16 bytes. Each thread copies its vectors to shared memory while it
    adds up their squares, and scales the copies after the block's sum. A thread reads back only its own copies, so the
    block needs barriers for the sum alone.
Source: M. Harris, Faster parallel reductions on Kepler (NVIDIA developer blog, 2014), for the sum by shuffles; J. Luitjens,
    Increase performance with vectorized memory access (NVIDIA developer blog, 2013), for 16 bytes; the row in shared memory
    is the sixth kernel of karpathy/llm.c, dev/cuda/layernorm_forward.cu.
Costs: a row must fit shared memory. Rows that do not start at a multiple of 16 bytes move one element at a time. Threads
    without a vector idle: in float32 a row fills the block from 512 channels on.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div, packed_size
from kernels.rms_norm.spec import RMS_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

THREADS = 128  # a row of Llama-2-7B is eight vectors for each thread in float32, four in bfloat16
SWEEP = 8 * THREADS  # bfloat16 that a block moves in one turn of its loops; in float32 it takes two turns
SHARED = 48 * 1024 - 64  # bytes that every GPU gives a block, less the shares of the sum
_KERNEL = CudaKernel(__file__, "rms_norm_block")


def _refuses(C, **_):
    if ceil_div(C, 4) * 16 > SHARED:
        yield f"a row of {C} channels in float32 does not fit {SHARED} bytes of shared memory"


@register(RMS_NORM, dtypes=DTYPES, tiles={"C": (4, 8, THREADS, SWEEP, SWEEP + 8)}, refuses=_refuses)
def cuda_block(x, weight, y, rstd, *, eps):
    rows, channels = x.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (x, weight, y, rstd, channels, eps), shared=ceil_div(channels, packed_size(x)) * 16)
