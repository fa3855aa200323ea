"""One thread for each parameter: the update in float32, and a bfloat16 of it for the next step.

Idea: bfloat16 keeps eight bits, so a step of a thousandth would be rounded away. The master weight takes it in float32; what
    the next step multiplies with is that weight plus sixteen random bits, cut off: on the mean nothing is lost.
Source: `adamw_update` and `stochastic_rounding` of karpathy/llm.c, llmc/adamw.cuh and llmc/cuda_utils.cuh, with PCG's hash for
    the random bits (M. Jarzynski and M. Olano, 2020) in place of Squirrel noise.
Costs: nine instructions to memory for every parameter, two of them for half of what they could move.
"""

from kernels.adamw.folded import folded
from kernels.adamw.spec import ADAMW_MASTER
from kernels.cuda import ceil_div
from registry import register
from registry.cuda import CudaKernel, launch

THREADS = 256
_KERNEL = CudaKernel(__file__, "adamw_master_naive")


@register(ADAMW_MASTER, dtypes=("bfloat16",), tiles={"K": (THREADS,)})
def cuda_naive(grad, param, master, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step, chance):
    decays = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    scalars = folded(learning_rate=learning_rate, grad_scale=grad_scale, step=step, **decays)
    if grad.size:
        args = (grad, param, master, m, v, grad.size, *scalars, chance)
        launch(_KERNEL, ceil_div(grad.size, THREADS), THREADS, args)
