"""The AdamW update: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization (2019), arXiv:1711.05101.

Dims: K parameters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from kernels.global_norm.spec import parameter_count
from registry import Direction, Elementwise, Op

Array = np.ndarray


def adamw(
    grad: Float[Array, "K"],
    param: Float[Array, "K"],
    m: Float[Array, "K"],
    v: Float[Array, "K"],
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: float,
    step: int,
) -> tuple[Float[Array, "K"], Float[Array, "K"], Float[Array, "K"]]:
    """Return param, m and v after update number `step` (the first is 1) with the gradient ``grad * grad_scale``."""
    g = grad.astype(np.float64) * grad_scale
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    direction = m / (1 - beta1**step) / (np.sqrt(v / (1 - beta2**step)) + eps)
    return param * (1 - learning_rate * weight_decay) - learning_rate * direction, m, v


def _second_moment(v, **_):
    return {"v": np.square(v)}


def _floor(grad, param, m, v, **params):
    """Return the size of the step, a dozen roundings long, which may stand alone or cancel what is there."""
    moved, _, _ = adamw(grad, np.zeros_like(param), m, v, **params)
    return np.abs(moved)


def _optimiser(torch, param, m, v, *, learning_rate, beta1, beta2, eps, weight_decay, step, fused):
    optimiser = torch.optim.AdamW(
        [param], lr=learning_rate, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=fused
    )
    optimiser.state[param] = {"step": torch.tensor(float(step - 1)), "exp_avg": m, "exp_avg_sq": v}
    return optimiser


def _oracle(torch, grad, param, m, v, *, grad_scale, **params):
    param, m, v = param.clone(), m.clone(), v.clone()
    param.grad = grad * grad_scale
    _optimiser(torch, param, m, v, fused=False, **params).step()
    return param, m, v


def _eager(torch, grad, param, m, v, *, grad_scale, **params):
    param.grad = grad
    optimiser = _optimiser(torch, param, m, v, fused=True, **params)
    if grad_scale != 1:
        optimiser.grad_scale = torch.tensor(1 / grad_scale)  # the fused kernel divides by it
    return optimiser.step


def _calls(model, batch, sequence):
    del batch, sequence
    return {"": {"K": parameter_count(model)}}


ADAMW = Op(
    definition=adamw,
    outputs=("param", "m", "v"),
    family="adamw",
    direction=Direction.UPDATE,
    oracle=_oracle,
    eager=_eager,
    domain={"K": range(5001)},
    params={
        "learning_rate": (6e-4, 1e-2),
        "beta1": (0.9, 0.8),
        "beta2": (0.95, 0.999),
        "eps": (1e-8, 1e-5),
        "weight_decay": (0.1, 0.0),
        "grad_scale": (1.0, 0.37),
        "step": (1, 7, 1000),
    },
    saved=_second_moment,
    error=Elementwise(floor={"param": _floor}),
    flops=lambda K: 16 * K,
    bytes=lambda K, size: size * 7 * K,
    shapes=_calls,
)
