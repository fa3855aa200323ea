"""The scalars of an AdamW update that are equal for all parameters: a loop over parameters need not compute them again."""

from __future__ import annotations

__all__ = ["hoisted_scalars"]


def hoisted_scalars(learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    """Return the fields of `HoistedScalars` in ``adamw.cuh``, in order.

    The step size holds the bias correction of m, and `v_correction` holds that of v, in the order of D. P. Kingma and J. Ba,
    Adam (2015), arXiv:1412.6980, end of section 2.
    """
    decay_factor = 1 - learning_rate * weight_decay
    step_size, v_correction = learning_rate / (1 - beta1**step), (1 - beta2**step) ** -0.5
    return grad_scale, beta1, 1 - beta1, beta2, 1 - beta2, decay_factor, step_size, v_correction, eps
