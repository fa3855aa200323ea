"""A dozen numpy calls on one block of parameters at a time, each of which writes to existing memory.

Builds on: numpy, which makes float64 copies of all arrays.
Idea: compute in float32, with two blocks of scratch memory as the only temporaries. A block stays in the cache between the
    calls.
Source: the blocking is that of the NumExpr project; the formula, I. Loshchilov and F. Hutter, arXiv:1711.05101.
Dims: K = parameters, L = parameters of a block.
"""

import numpy as np

from kernels.adamw.hoisted_scalars import hoisted_scalars
from kernels.adamw.spec import ADAMW
from registry import register

BLOCK = 4096  # six arrays of 16 KB each: a block fits the second-level cache


def _update(grad_L, param_L, m_L, v_L, g_L, scratch_L, scalars):
    grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, decay_factor, step_size, v_correction, eps = scalars
    np.multiply(grad_L, grad_scale, out=g_L)
    np.multiply(g_L, one_minus_beta1, out=scratch_L)
    m_L *= beta1
    m_L += scratch_L
    np.multiply(g_L, g_L, out=scratch_L)
    scratch_L *= one_minus_beta2
    v_L *= beta2
    v_L += scratch_L
    np.sqrt(v_L, out=scratch_L)
    scratch_L *= v_correction
    scratch_L += eps
    np.divide(m_L, scratch_L, out=scratch_L)
    scratch_L *= step_size
    param_L *= decay_factor
    param_L -= scratch_L


@register(ADAMW, tiles={"K": (BLOCK,)}, workspace=lambda threads, K: 2 * BLOCK)  # noqa: ARG005 (always passed)
def numpy_inplace(grad, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step, workspace):
    scalars = hoisted_scalars(learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step)
    with np.errstate(all="ignore"):
        for low in range(0, grad.size, BLOCK):
            block = slice(low, min(low + BLOCK, grad.size))
            scratch = workspace[: block.stop - low], workspace[BLOCK : BLOCK + block.stop - low]
            _update(grad[block], param[block], m[block], v[block], *scratch, scalars)
