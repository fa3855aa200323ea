"""One plain loop over the parameters.

Idea: write the reference as plain scalar loops.
Source: the CPU kernel of karpathy/llm.c, train_gpt2.c, gpt2_update; I. Loshchilov and F. Hutter, arXiv:1711.05101.
Dims: K = parameters.
"""

import numpy as np

from kernels.adamw.spec import ADAMW
from kernels.simd import naive
from registry import register


@naive
def _adamw(grad_K, param_K, m_K, v_K, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    one_minus_beta1, m_correction = np.float32(1 - beta1), np.float32(1 - beta1**step)
    one_minus_beta2, v_correction = np.float32(1 - beta2), np.float32(1 - beta2**step)
    # A float64 scalar would make the arithmetic float64.
    one, learning_rate, weight_decay = np.float32(1), np.float32(learning_rate), np.float32(weight_decay)
    beta1, beta2, eps, grad_scale = np.float32(beta1), np.float32(beta2), np.float32(eps), np.float32(grad_scale)
    for k in range(grad_K.size):
        g = grad_K[k] * grad_scale
        m_K[k] = beta1 * m_K[k] + one_minus_beta1 * g
        v_K[k] = beta2 * v_K[k] + one_minus_beta2 * g * g
        direction = m_K[k] / m_correction / (np.sqrt(v_K[k] / v_correction) + eps)
        param_K[k] = param_K[k] * (one - learning_rate * weight_decay) - learning_rate * direction


@register(ADAMW)
def numba_naive(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    _adamw(grad, param, m, v, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step)
