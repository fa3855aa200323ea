"""One plain loop over the parameters.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, gpt2_update; I. Loshchilov and F. Hutter, arXiv:1711.05101.
"""

import numpy as np

from kernels.adamw.spec import ADAMW
from kernels.simd import naive
from registry import register


@naive
def _adamw(grad, param, m, v, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    one = np.float32(1)
    rate, decay, scale, small = (
        np.float32(learning_rate), np.float32(weight_decay), np.float32(grad_scale), np.float32(eps)
    )  # fmt: skip
    old1, new1, correction1 = np.float32(beta1), np.float32(1 - beta1), np.float32(1 - beta1**step)
    old2, new2, correction2 = np.float32(beta2), np.float32(1 - beta2), np.float32(1 - beta2**step)
    for k in range(grad.size):
        g = grad[k] * scale
        m[k] = old1 * m[k] + new1 * g
        v[k] = old2 * v[k] + new2 * g * g
        direction = m[k] / correction1 / (np.sqrt(v[k] / correction2) + small)
        param[k] = param[k] * (one - rate * decay) - rate * direction


@register(ADAMW)
def numba_naive(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    _adamw(grad, param, m, v, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step)
