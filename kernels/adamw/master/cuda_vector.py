"""Eight parameters for each thread, in loads and stores of 128 bits.

Builds on: cuda_naive, which issues nine instructions to memory for every parameter.
Idea: 16 bytes hold eight gradients or four master weights, so a thread takes eight parameters: one load of gradients, two
    of each float32 stream. Every place hashes its own random bits, so a thread needs no state and no order.
Source: karpathy/llm.c, llmc/adamw.cuh for what is fused; the multi-tensor kernel of PyTorch,
    aten/src/ATen/native/cuda/fused_adam_utils.cuh, for the width of the pieces.
Costs: arrays that do not start at a multiple of 16 bytes are moved one by one.
"""

from kernels.adamw.folded import folded
from kernels.adamw.spec import ADAMW_MASTER
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS, EACH = 256, 8
_KERNEL = CudaKernel(__file__, "adamw_master_vector")


@register(ADAMW_MASTER, dtypes=("bfloat16",), tiles={"K": (EACH, THREADS * EACH)})
def cuda_vector(grad, param, master, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step, chance):
    decays = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    scalars = folded(learning_rate=learning_rate, grad_scale=grad_scale, step=step, **decays)
    if grad.size:
        args = (grad, param, master, m, v, grad.size, *scalars, chance)
        launch(_KERNEL, ceil_div(grad.size, THREADS * EACH), THREADS, args)
