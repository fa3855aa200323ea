"""One block for each row, in loads and stores of 128 bits.

Builds on: cuda_naive, whose neighbouring threads read addresses that are a row apart.
Idea: neighbouring threads take neighbouring packs of 128 bits. The warps add their shares of the dot product in shared
    memory. The second sweep finds the row in the cache.
Source: the kernels cunn_SoftMaxBackward of PyTorch, aten/src/ATen/native/cuda/SoftMax.cu, share a row in the same way.
Costs: a short row leaves most of the block idle; rows that do not start at a multiple of 16 bytes move by single floats.
Dims: N = rows, C = classes.
"""

from kernels.softmax.spec import SOFTMAX_BACKWARD
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
EACH = 4  # elements of a thread: 128 bits hold four floats
_KERNEL = CudaKernel(__file__, "softmax_backward_block")


@register(SOFTMAX_BACKWARD, tiles={"C": (EACH, THREADS * EACH)})
def cuda_block(dy, y, dx):
    rows, classes = y.shape
    if rows:
        launch(_KERNEL, rows, THREADS, (dy, y, dx, classes))
