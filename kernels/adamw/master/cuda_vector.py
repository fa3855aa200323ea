"""Eight parameters for each thread, in loads and stores of 128 bits.

Builds on: cuda_naive, which issues nine instructions to memory for every parameter.
Idea: 16 bytes hold eight gradients or four master weights, so a thread takes eight parameters: one load of gradients, two
    of each float32 array. The random bits of an element are a hash of its index, so a thread needs no state and no order.
Source: karpathy/llm.c, llmc/adamw.cuh for the fused update; the multi-tensor kernel of PyTorch,
    aten/src/ATen/native/cuda/fused_adam_utils.cuh, for the width of loads and stores.
Costs: arrays that do not start at a multiple of 16 bytes are moved one by one.
Dims: K = parameters.
"""

from kernels.adamw.hoisted_scalars import hoisted_scalars
from kernels.adamw.spec import ADAMW_MASTER
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
EACH = 8  # parameters of a thread: 128 bits hold eight bfloat16
_KERNEL = CudaKernel(__file__, "adamw_master_vector")


@register(ADAMW_MASTER, dtypes=("bfloat16",), tiles={"K": (EACH, THREADS * EACH)})
def cuda_vector(grad, param, master, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step, rounding_seed):
    scalars = hoisted_scalars(learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step)
    if grad.size:
        args = (grad, param, master, m, v, grad.size, *scalars, rounding_seed)
        launch(_KERNEL, ceil_div(grad.size, THREADS * EACH), THREADS, args)
