"""One thread for each parameter, in the order of the paper.

Idea: write the reference as one kernel. The CPU computes the powers of the betas, which are equal for all parameters.
Source: the first kernel of karpathy/llm.c, dev/cuda/adamw.cu; I. Loshchilov and F. Hutter, arXiv:1711.05101.
Costs: three divisions for each parameter.
Dims: K = parameters.
"""

from kernels.adamw.spec import ADAMW
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "adamw_naive")


@register(ADAMW, tiles={"K": (THREADS,)})
def cuda_naive(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    decays = beta1, 1 - beta1, 1 - beta1**step, beta2, 1 - beta2, 1 - beta2**step
    args = (grad, param, m, v, grad.size, grad_scale, *decays, learning_rate, eps, weight_decay)
    if grad.size:
        launch(_KERNEL, ceil_div(grad.size, THREADS), THREADS, args)
