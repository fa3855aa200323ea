"""The AdamW update: I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization (2019), arXiv:1711.05101.

A parameter in bfloat16 loses an update of less than a 512th of its size. `adamw_master` keeps the parameters in float32 (the
master weights: P. Micikevicius et al., Mixed Precision Training (2018), arXiv:1710.03740, section 3.1) and stores bfloat16
copies for the next step by stochastic rounding (S. Gupta et al. (2015), arXiv:1502.02551, section 3). The mean of the copies
over many steps follows the small updates. The random bits are part of the contract: the same `rounding_seed` gives the same
parameters on every device.

Dims: K = parameters.
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
    rounding_seed: int,
) -> tuple[Float[Array, "K"], Float32[Array, "K"], Float32[Array, "K"], Float32[Array, "K"]]:
    """Return the weights by stochastic rounding, then the updated master weights, m and v."""
    settings = {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    master, m, v = adamw(grad, master, m, v, **settings, grad_scale=grad_scale, step=step)
    return round_stochastically(master, rounding_seed), master, m, v


def round_stochastically(values, rounding_seed):
    """Add 16 random bits to float32 values and cut them to bfloat16: the mean over all random bits is the value itself."""
    bits = values.astype(np.float32).view(np.uint32)
    chosen = (bits + noise(np.arange(values.size), rounding_seed)) & 0xFFFF0000
    return np.where(np.isfinite(values), chosen.astype(np.uint32).view(np.float32), values)


def noise(indices, rounding_seed):
    """Return 16 random bits for each index: the hash of the index plus the hash of `rounding_seed`.

    The hash is PCG's output function: M. Jarzynski and M. Olano, Hash Functions for GPU Rendering, Journal of Computer
    Graphics Techniques 9 (2020), number 3, table 1, "pcg".
    """

    def pcg(number):
        state = number * np.uint32(747796405) + np.uint32(2891336453)
        word = ((state >> ((state >> np.uint32(28)) + np.uint32(4))) ^ state) * np.uint32(277803737)
        return (word >> np.uint32(22)) ^ word

    return pcg(indices.astype(np.uint32) + pcg(np.array([rounding_seed], np.uint32))) & np.uint32(0xFFFF)


def _second_moment(v, **_):
    return {"v": np.square(v)}


def _floor(grad, param, m, v, **params):
    """Return the size of the update, which has a dozen roundings of its own and may cancel the parameter."""
    moved, _, _ = adamw(grad, np.zeros_like(param), m, v, **params)
    return np.abs(moved)


def _floor_master(grad, master, m, v, *, rounding_seed, **params):
    del rounding_seed
    return _floor(grad, master, m, v, **params)


def _floor_stored(grad, master, m, v, *, rounding_seed, **params):
    """Return twice the spacing of bfloat16, in roundings, where a float32 error decides if a weight is rounded up or down."""
    after, _, _ = adamw(grad, master, m, v, **params)
    moved = np.abs(master) + _floor(grad, master, m, v, **params)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(after), np.finfo(np.float32).tiny)
        spacing = 2.0 ** (np.floor(np.log2(size)) - 7)
        place = (size / spacing) % 1 + noise(np.arange(after.size), rounding_seed) / 2**16  # from 1 on it is rounded up
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


def _oracle_master(torch, grad, master, m, v, *, rounding_seed, **params):
    master, m, v = _oracle(torch, grad, master, m, v, **params)
    bits = master.float().view(torch.int32).long() & 0xFFFFFFFF
    up = (bits & 0xFFFF) + _noise_by_torch(torch, len(master), rounding_seed) >= 1 << 16
    below = bits & 0xFFFF0000
    chosen = torch.where(up, below + (1 << 16), below)
    signed = torch.where(chosen >= 1 << 31, chosen - (1 << 32), chosen)  # int32 holds the sign bit as minus
    stored = signed.to(torch.int32).view(torch.float32).to(master.dtype)
    return torch.where(master.isfinite(), stored, master), master, m, v


def _noise_by_torch(torch, size, rounding_seed):
    low = (1 << 32) - 1

    def hashed(number):
        number = (number * 747796405 + 2891336453) & low
        number = (((number >> ((number >> 28) + 4)) ^ number) * 277803737) & low
        return (number >> 22) ^ number

    return hashed((torch.arange(size) + hashed(torch.tensor(rounding_seed))) & low) & 0xFFFF


def _eager_master(torch, grad, master, m, v, *, rounding_seed, grad_scale, **params):
    """Return fused AdamW on the master weights and a copy to nearest: torch has no stochastic rounding."""
    del rounding_seed
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
    params={**SETTINGS, "rounding_seed": (0, 1, 987_654_321)},
    dtypes=("bfloat16",),
    saved=_second_moment,
    error=Elementwise(floor={"param": _floor_stored, "master": _floor_master}),
    flops=lambda K: 16 * K,
)
