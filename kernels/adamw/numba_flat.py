"""The whole update in one vectorised loop, cut between threads.

Builds on: numba_naive, which is one thread and divides three times for each parameter.
Idea: each of the four arrays is read once and each of three written once, the least there can be; the two bias
    corrections, the same for all, are divided out beforehand.
Source: the fused CPU kernel of PyTorch, aten/src/ATen/native/cpu/FusedAdamKernel.cpp; the order of the corrections is
    that of D. P. Kingma and J. Ba, Adam (2015), arXiv:1412.6980, end of section 2.
"""

import numpy as np
from numba import prange

from kernels.adamw.spec import ADAMW
from kernels.simd import parallel
from registry import register


@parallel
def _flat(grad, param, m, v, beta1, beta2, eps, decay, rate, root, grad_scale):
    old1, new1, old2, new2 = np.float32(beta1), np.float32(1 - beta1), np.float32(beta2), np.float32(1 - beta2)
    small, kept, step_size = np.float32(eps), np.float32(decay), np.float32(rate)
    corrected, scale = np.float32(root), np.float32(grad_scale)
    for k in prange(grad.size):
        g = grad[k] * scale
        first = old1 * m[k] + new1 * g
        second = old2 * v[k] + new2 * (g * g)
        m[k] = first
        v[k] = second
        param[k] = param[k] * kept - step_size * (first / (np.sqrt(second) * corrected + small))


@register(ADAMW)
def numba_flat(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    decay, rate, root = 1 - learning_rate * weight_decay, learning_rate / (1 - beta1**step), (1 - beta2**step) ** -0.5
    _flat(grad, param, m, v, beta1, beta2, eps, decay, rate, root, grad_scale)
