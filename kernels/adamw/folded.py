"""What of an AdamW update is the same for all parameters, worked out once."""

from __future__ import annotations

__all__ = ["folded"]


def folded(*, learning_rate, beta1, beta2, eps, weight_decay, grad_scale, step):
    """Return the scalars of `update` in ``adamw.cuh``, in order: both bias corrections and the decay are folded into them.

    The order of the corrections is that of D. P. Kingma and J. Ba, Adam (2015), arXiv:1412.6980, end of section 2.
    """
    kept, rate, root = 1 - learning_rate * weight_decay, learning_rate / (1 - beta1**step), (1 - beta2**step) ** -0.5
    return grad_scale, beta1, 1 - beta1, beta2, 1 - beta2, kept, rate, root, eps
