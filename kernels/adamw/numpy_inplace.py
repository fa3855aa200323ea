"""A dozen numpy calls on one block of parameters at a time, each writing where it stands.

Builds on: numpy, which makes float64 copies of everything.
Idea: float32 throughout, no temporary but two blocks of scratch, and blocks that stay in the cache between the calls.
Source: the blocking is that of the NumExpr project; the formula, I. Loshchilov and F. Hutter, arXiv:1711.05101.
"""

import numpy as np

from kernels.adamw.spec import ADAMW
from registry import register

BLOCK = 4096


def _update(grad, param, m, v, g, scratch, *, beta1, beta2, eps, decay, rate, root, grad_scale):
    np.multiply(grad, grad_scale, out=g)
    np.multiply(g, 1 - beta1, out=scratch)
    m *= beta1
    m += scratch
    np.multiply(g, g, out=scratch)
    scratch *= 1 - beta2
    v *= beta2
    v += scratch
    np.sqrt(v, out=scratch)
    scratch *= root
    scratch += eps
    np.divide(m, scratch, out=scratch)
    scratch *= rate
    param *= decay
    param -= scratch


@register(ADAMW, tiles={"K": (BLOCK,)}, workspace=lambda threads, K: 2 * BLOCK)  # noqa: ARG005 (always passed)
def numpy_inplace(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step, workspace):
    decay, rate, root = 1 - learning_rate * weight_decay, learning_rate / (1 - beta1**step), (1 - beta2**step) ** -0.5
    with np.errstate(all="ignore"):
        for low in range(0, grad.size, BLOCK):
            block = slice(low, min(low + BLOCK, grad.size))
            size = block.stop - low
            _update(
                grad[block], param[block], m[block], v[block], workspace[:size], workspace[BLOCK : BLOCK + size],
                beta1=beta1, beta2=beta2, eps=eps, decay=decay, rate=rate, root=root, grad_scale=grad_scale,
            )  # fmt: skip
