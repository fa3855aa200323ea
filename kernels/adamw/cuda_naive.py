"""One thread for each parameter, in the order of the paper.

Idea: write the reference as one kernel; the powers of the betas are the same for all and come from the host.
Source: the first kernel of karpathy/llm.c, dev/cuda/adamw.cu; I. Loshchilov and F. Hutter, arXiv:1711.05101.
Costs: three divisions for each parameter.
"""

from kernels.adamw.spec import ADAMW
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256
_KERNEL = CudaKernel(__file__, "adamw_naive")


@register(ADAMW, tiles={"K": (THREADS,)})
def cuda_naive(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    decays = beta1, 1 - beta1, 1 - beta1**step, beta2, 1 - beta2, 1 - beta2**step
    args = (grad, param, m, v, grad.size, grad_scale, *decays, learning_rate, eps, weight_decay)
    if grad.size:
        launch(_KERNEL, ceil_div(grad.size, THREADS), THREADS, args)
