"""One warp for each row, whose lanes exchange partial sums by shuffles.

Builds on: cuda_block, whose threads wait at sixteen or more barriers for each row.
Idea: the lanes of a warp run together: five shuffles between registers replace the tree in shared memory and all of its
    barriers. The rows of a block need not wait for each other.
Source: M. Harris, Faster parallel reductions on Kepler (NVIDIA developer blog, 2014), for shuffles; the third kernel of
    karpathy/llm.c, dev/cuda/layernorm_forward.cu.
Dims: N = rows (batch x time), C = channels.
"""

from kernels.cuda import ceil_div
from kernels.layer_norm.spec import LAYER_NORM
from registry import register
from registry.cuda import CudaKernel, launch
from registry.dtypes import DTYPES

ROWS, LANES = 8, 32  # of a block: a warp for each row, and eight warps to hide the latency of memory
_KERNEL = CudaKernel(__file__, "layer_norm_warp")


@register(LAYER_NORM, dtypes=DTYPES, tiles={"N": (ROWS,), "C": (LANES,)})
def cuda_warp(x, weight, bias, y, mean, rstd, *, eps):
    rows, channels = x.shape
    if rows:
        launch(_KERNEL, ceil_div(rows, ROWS), ROWS * LANES, (x, weight, bias, y, mean, rstd, rows, channels, eps))
