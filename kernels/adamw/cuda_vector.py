"""Four parameters for each thread, in loads and stores of 128 bits, and one division for each parameter.

Builds on: cuda_naive, which issues seven instructions to memory for every parameter.
Idea: memory limits the update, which reads four arrays and writes three. Each instruction moves 128 bits. The CPU computes
    the scalars that are equal for all parameters, among them both bias corrections.
Source: the multi-tensor kernel of PyTorch, aten/src/ATen/native/cuda/fused_adam_utils.cuh; the order of the corrections is
    that of D. P. Kingma and J. Ba, Adam (2015), arXiv:1412.6980, end of section 2.
Costs: arrays that do not start at a multiple of 16 bytes are moved by single floats.
Dims: K = parameters.
"""

from kernels.adamw.hoisted_scalars import hoisted_scalars
from kernels.adamw.spec import ADAMW
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
EACH = 4  # parameters of a thread: 128 bits hold four floats
_KERNEL = CudaKernel(__file__, "adamw_vector")


@register(ADAMW, tiles={"K": (EACH, THREADS * EACH)})
def cuda_vector(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    scalars = hoisted_scalars(learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step)
    if grad.size:
        launch(_KERNEL, ceil_div(grad.size, THREADS * EACH), THREADS, (grad, param, m, v, grad.size, *scalars))
