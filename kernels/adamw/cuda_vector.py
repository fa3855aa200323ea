"""Four parameters for each thread, in loads and stores of 128 bits, and one division for each parameter.

Builds on: cuda_naive, which issues seven instructions to memory for every parameter.
Idea: seven streams of memory are all that the update costs: they move 128 bits at a time, and what is the same for all
    parameters (both bias corrections, the decay) is worked out once, on the host.
Source: the multi-tensor kernel of PyTorch, aten/src/ATen/native/cuda/fused_adam_utils.cuh; the order of the corrections is
    that of D. P. Kingma and J. Ba, Adam (2015), arXiv:1412.6980, end of section 2.
Costs: arrays that do not start at a multiple of 16 bytes are moved by single floats.
"""

from kernels.adamw.folded import folded
from kernels.adamw.spec import ADAMW
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS, EACH = 256, 4
_KERNEL = CudaKernel(__file__, "adamw_vector")


@register(ADAMW, tiles={"K": (EACH, THREADS * EACH)})
def cuda_vector(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    decays = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    scalars = folded(learning_rate=learning_rate, grad_scale=grad_scale, step=step, **decays)
    if grad.size:
        launch(_KERNEL, ceil_div(grad.size, THREADS * EACH), THREADS, (grad, param, m, v, grad.size, *scalars))
