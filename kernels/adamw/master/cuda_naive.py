"""One thread for each parameter: the update in float32, and a bfloat16 copy of the parameter for the next step.

Idea: bfloat16 has eight significant bits, so rounding to nearest would lose an update of a thousandth. The master weight
    keeps the update in float32. The bfloat16 copy is the master weight plus sixteen random bits, cut off (stochastic
    rounding), so its mean over many steps is the master weight.
Source: `adamw_update` and `stochastic_rounding` of karpathy/llm.c, llmc/adamw.cuh and llmc/cuda_utils.cuh, with PCG's hash for
    the random bits (M. Jarzynski and M. Olano, 2020) in place of Squirrel noise.
Costs: nine instructions to memory for every parameter, two of which move 16 bits instead of 32.
Dims: K = parameters.
"""

from kernels.adamw.hoisted_scalars import hoisted_scalars
from kernels.adamw.spec import ADAMW_MASTER
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256  # eight warps; memory limits this kernel, not the size of its blocks
_KERNEL = CudaKernel(__file__, "adamw_master_naive")


@register(ADAMW_MASTER, dtypes=("bfloat16",), tiles={"K": (THREADS,)})
def cuda_naive(grad, param, master, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step, rounding_seed):
    scalars = hoisted_scalars(learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step)
    if grad.size:
        args = (grad, param, master, m, v, grad.size, *scalars, rounding_seed)
        launch(_KERNEL, ceil_div(grad.size, THREADS), THREADS, args)
