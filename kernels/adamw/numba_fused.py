"""The whole update in one vectorised loop, whose range the threads share.

Builds on: numba_naive, which has one thread and divides three times for each parameter.
Idea: the loop reads each of the four arrays once and writes each of three once, the least number of bytes. The two bias
    corrections are equal for all parameters, so they become two factors before the loop.
Source: the fused CPU kernel of PyTorch, aten/src/ATen/native/cpu/FusedAdamKernel.cpp; the order of the corrections is
    that of D. P. Kingma and J. Ba, Adam (2015), arXiv:1412.6980, end of section 2.
Dims: K = parameters.
"""

import numpy as np
from numba import prange

from kernels.adamw.hoisted_scalars import hoisted_scalars
from kernels.adamw.spec import ADAMW
from kernels.simd import parallel
from registry import register


@parallel
def _fused(
    grad_K, param_K, m_K, v_K, grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, decay_factor, step_size,
    v_correction, eps,
):  # fmt: skip
    # A float64 scalar would make the arithmetic float64.
    grad_scale, eps = np.float32(grad_scale), np.float32(eps)
    beta1, one_minus_beta1, beta2 = np.float32(beta1), np.float32(one_minus_beta1), np.float32(beta2)
    one_minus_beta2, decay_factor = np.float32(one_minus_beta2), np.float32(decay_factor)
    step_size, v_correction = np.float32(step_size), np.float32(v_correction)
    for k in prange(grad_K.size):
        g = grad_K[k] * grad_scale
        m = beta1 * m_K[k] + one_minus_beta1 * g
        v = beta2 * v_K[k] + one_minus_beta2 * (g * g)
        m_K[k] = m
        v_K[k] = v
        param_K[k] = param_K[k] * decay_factor - step_size * (m / (np.sqrt(v) * v_correction + eps))


@register(ADAMW)
def numba_fused(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    scalars = hoisted_scalars(learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step)
    _fused(grad, param, m, v, *scalars)
