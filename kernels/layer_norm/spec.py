"""Layer normalisation over the last axis.

Dims: N rows (batch x time), C channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from registry import Direction, Op, Sum

Array = np.ndarray


def layer_norm(
    x: Float[Array, "N C"], weight: Float[Array, "C"], bias: Float[Array, "C"], *, eps: float
) -> tuple[Float[Array, "N C"], Float32[Array, "N"], Float32[Array, "N"]]:
    """Return y = (x - mean) * rstd * weight + bias, and the row statistics mean and rstd."""
    x = x.astype(np.float64)
    mean = x.mean(axis=1)
    rstd = 1 / np.sqrt(x.var(axis=1) + eps)
    return (x - mean[:, None]) * rstd[:, None] * weight + bias, mean, rstd


def layer_norm_backward(
    dy: Float[Array, "N C"],
    x: Float[Array, "N C"],
    weight: Float[Array, "C"],
    mean: Float32[Array, "N"],
    rstd: Float32[Array, "N"],
    dweight: Float[Array, "C"],
    dbias: Float[Array, "C"],
    *,
    accumulate: bool,
) -> tuple[Float[Array, "N C"], Float[Array, "C"], Float[Array, "C"]]:
    """Return dx, dweight and dbias; the parameter gradients are added to what is there if `accumulate`."""
    dy, x = dy.astype(np.float64), x.astype(np.float64)
    normed = (x - mean[:, None]) * rstd[:, None]
    dnormed = dy * weight
    along = (dnormed * normed).mean(axis=1, keepdims=True)
    dx = (dnormed - dnormed.mean(axis=1, keepdims=True) - normed * along) * rstd[:, None]
    gained, shifted = (dy * normed).sum(axis=0), dy.sum(axis=0)
    return dx, gained + dweight if accumulate else gained, shifted + dbias if accumulate else shifted


def _statistics(x, eps=1e-5, **_):
    _, mean, rstd = layer_norm(x, np.ones(x.shape[1]), np.zeros(x.shape[1]), eps=eps)
    return {"mean": mean, "rstd": rstd}


def _oracle(torch, x, weight, bias, *, eps):
    mean = x.mean(dim=1)
    rstd = (x.var(dim=1, unbiased=False) + eps).rsqrt()
    return torch.nn.functional.layer_norm(x, x.shape[1:], weight, bias, eps), mean, rstd


def _oracle_backward(torch, dy, x, weight, mean, rstd, dweight, dbias, *, accumulate):
    del mean, rstd
    x, weight, bias = x.requires_grad_(), weight.requires_grad_(), torch.zeros_like(weight, requires_grad=True)
    y = torch.nn.functional.layer_norm(x, x.shape[1:], weight, bias, 1e-5)
    dx, dw, db = torch.autograd.grad(y, (x, weight, bias), dy)
    return dx, dw + dweight if accumulate else dw, db + dbias if accumulate else db


DOMAIN = {"N": range(71), "C": range(1, 301)}


def _calls(model, batch, sequence):
    return {"": {"N": batch * sequence, "C": model.channels}}


LAYER_NORM = Op(
    definition=layer_norm,
    outputs=("y", "mean", "rstd"),
    family="layer_norm",
    direction=Direction.FORWARD,
    oracle=_oracle,
    domain=DOMAIN,
    params={"eps": (1e-5, 1e-6)},
    error=Sum(over="C"),
    flops=lambda N, C: 8 * N * C,
    bytes=lambda N, C, size: size * (2 * N * C + 2 * C) + 8 * N,
    shapes=_calls,
)

LAYER_NORM_BACKWARD = Op(
    definition=layer_norm_backward,
    outputs=("dx", "dweight", "dbias"),
    family="layer_norm",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    domain=DOMAIN,
    params={"accumulate": (False, True)},
    saved=_statistics,
    error=Sum(over="N+C"),
    flops=lambda N, C: 14 * N * C,
    bytes=lambda N, C, size: size * (3 * N * C + 5 * C) + 8 * N,
    shapes=_calls,
)
