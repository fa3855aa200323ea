"""The AdamW update: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization (2019), arXiv:1711.05101.

Parameters in bfloat16 would swallow updates of less than a 512th of their size. `adamw_master` keeps them in float32 (the
master weights: P. Micikevicius et al., Mixed Precision Training (2018), arXiv:1710.03740, section 3.1) and stores for the next
step what stochastic rounding makes of them (S. Gupta et al. (2015), arXiv:1502.02551, section 3), so that small changes are
seen on the mean. The random bits are part of the contract: the same number `chance` gives the same parameters on every device.

Dims: K parameters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

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


def adamw_master(
    grad: Float[Array, "K"],
    master: Float32[Array, "K"],
    m: Float32[Array, "K"],
    v: Float32[Array, "K"],
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: float,
    step: int,
    chance: int,
) -> tuple[Float[Array, "K"], Float32[Array, "K"], Float32[Array, "K"], Float32[Array, "K"]]:
    """Return the updated master weights, m and v, and before them the weights, rounded by `chance`."""
    settings = {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    master, m, v = adamw(grad, master, m, v, **settings, grad_scale=grad_scale, step=step)
    return rounded_by_chance(master, chance), master, m, v


def rounded_by_chance(values, chance):
    """Return float32 values cut to bfloat16 after 16 random bits were added below: up as often as they are far from down."""
    bits = values.astype(np.float32).view(np.uint32)
    chosen = (bits + noise(np.arange(values.size), chance)) & 0xFFFF0000
    return np.where(np.isfinite(values), chosen.astype(np.uint32).view(np.float32), values)


def noise(places, chance):
    """Return 16 random bits for each place: a hash of the place, counted from a start that is the hash of `chance`.

    The hash is PCG's output function: M. Jarzynski and M. Olano, Hash Functions for GPU Rendering, Journal of Computer
    Graphics Techniques 9 (2020), number 3, table 1, "pcg".
    """

    def pcg(number):
        state = number * np.uint32(747796405) + np.uint32(2891336453)
        word = ((state >> ((state >> np.uint32(28)) + np.uint32(4))) ^ state) * np.uint32(277803737)
        return (word >> np.uint32(22)) ^ word

    return pcg(places.astype(np.uint32) + pcg(np.array([chance], np.uint32))) & np.uint32(0xFFFF)


def _second_moment(v, **_):
    return {"v": np.square(v)}


def _floor(grad, param, m, v, **params):
    """Return the size of the step, a dozen roundings long, which may stand alone or cancel what is there."""
    moved, _, _ = adamw(grad, np.zeros_like(param), m, v, **params)
    return np.abs(moved)


def _floor_master(grad, master, m, v, *, chance, **params):
    del chance
    return _floor(grad, master, m, v, **params)


def _floor_stored(grad, master, m, v, *, chance, **params):
    """Return twice the spacing of bfloat16, in roundings, where an honest float32 may fall on either side of its chance."""
    after, _, _ = adamw(grad, master, m, v, **params)
    moved = np.abs(master) + _floor(grad, master, m, v, **params)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(after), np.finfo(np.float32).tiny)
        spacing = 2.0 ** (np.floor(np.log2(size)) - 7)
        place = (size / spacing) % 1 + noise(np.arange(after.size), chance) / 2**16  # from 1 on it is rounded up
        near = np.abs(place - 1) * spacing <= 16 * np.finfo(np.float32).eps * (moved + size)
    return np.where(near, 2 * spacing / np.finfo(np.float32).eps, 0.0)


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


def _oracle_master(torch, grad, master, m, v, *, chance, **params):
    master, m, v = _oracle(torch, grad, master, m, v, **params)
    bits = master.float().view(torch.int32).long() & 0xFFFFFFFF
    up = (bits & 0xFFFF) + _noise_by_torch(torch, len(master), chance) >= 1 << 16
    below = bits & 0xFFFF0000
    chosen = torch.where(up, below + (1 << 16), below)
    signed = torch.where(chosen >= 1 << 31, chosen - (1 << 32), chosen)  # int32 holds the sign bit as minus
    stored = signed.to(torch.int32).view(torch.float32).to(master.dtype)
    return torch.where(master.isfinite(), stored, master), master, m, v


def _noise_by_torch(torch, size, chance):
    low = (1 << 32) - 1

    def hashed(number):
        number = (number * 747796405 + 2891336453) & low
        number = (((number >> ((number >> 28) + 4)) ^ number) * 277803737) & low
        return (number >> 22) ^ number

    return hashed((torch.arange(size) + hashed(torch.tensor(chance))) & low) & 0xFFFF


def _eager_master(torch, grad, master, m, v, *, chance, grad_scale, **params):
    """Return fused AdamW on the master weights and a copy to nearest: torch has no stochastic rounding."""
    del chance
    master.grad = grad.float()
    optimiser = _optimiser(torch, master, m, v, fused=True, **params)

    def call():
        master.grad.copy_(grad).mul_(grad_scale)
        optimiser.step()
        return master.to(grad.dtype)

    return call


DOMAIN = {"K": range(5001)}
SETTINGS = {
    "learning_rate": (6e-4, 1e-2),
    "beta1": (0.9, 0.8),
    "beta2": (0.95, 0.999),
    "eps": (1e-8, 1e-5),
    "weight_decay": (0.1, 0.0),
    "grad_scale": (1.0, 0.37),
    "step": (1, 7, 1000),
}

ADAMW = Op(
    reference=adamw,
    outputs=("param", "m", "v"),
    family="adamw",
    direction=Direction.UPDATE,
    oracle=_oracle,
    eager=_eager,
    domain=DOMAIN,
    params=SETTINGS,
    dtypes=("float32",),  # in bfloat16, updates would be lost: adamw_master
    saved=_second_moment,
    error=Elementwise(floor={"param": _floor}),
    flops=lambda K: 16 * K,
)

ADAMW_MASTER = Op(
    reference=adamw_master,
    outputs=("param", "master", "m", "v"),
    family="adamw",
    direction=Direction.UPDATE,
    oracle=_oracle_master,
    eager=_eager_master,
    domain=DOMAIN,
    params={**SETTINGS, "chance": (0, 1, 987_654_321)},
    dtypes=("bfloat16",),
    saved=_second_moment,
    error=Elementwise(floor={"param": _floor_stored, "master": _floor_master}),
    flops=lambda K: 16 * K,
)
