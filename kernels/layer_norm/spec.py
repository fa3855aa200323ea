"""Layer normalisation over the last axis.

Dims: N = rows (batch x time), C = channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from registry import Direction, Op, Sum

Array = np.ndarray
EPS = 1e-5


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
    """Return dx, dweight and dbias; the parameter gradients are added to the old gradients if `accumulate`."""
    dy, x = dy.astype(np.float64), x.astype(np.float64)
    normed = (x - mean[:, None]) * rstd[:, None]
    dnormed = dy * weight
    along = (dnormed * normed).mean(axis=1, keepdims=True)
    dx = (dnormed - dnormed.mean(axis=1, keepdims=True) - normed * along) * rstd[:, None]
    gained, shifted = (dy * normed).sum(axis=0), dy.sum(axis=0)
    return dx, gained + dweight if accumulate else gained, shifted + dbias if accumulate else shifted


def statistics(x, **_):
    """Return the statistics that the forward pass saves for the backward pass."""
    _, mean, rstd = layer_norm(x, 1, 0, eps=EPS)
    return {"mean": mean, "rstd": rstd}


def _oracle(torch, x, weight, bias, *, eps):
    y, mean, rstd = torch.native_layer_norm(x, x.shape[1:], weight, bias, eps)
    return y, mean.squeeze(1), rstd.squeeze(1)


def _oracle_backward(torch, dy, x, weight, mean, rstd, dweight, dbias, *, accumulate):
    del mean, rstd
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    bias = torch.zeros_like(weight, requires_grad=True)
    y = torch.nn.functional.layer_norm(x, x.shape[1:], weight, bias, EPS)
    dx, dw, db = torch.autograd.grad(y, (x, weight, bias), dy)
    return dx, dw + dweight if accumulate else dw, db + dbias if accumulate else db


def _eager_backward(torch, dy, x, weight, mean, rstd, dweight, dbias, *, accumulate):
    mean, rstd, shape = mean[:, None], rstd[:, None], x.shape[1:]

    def call():
        backward = torch.ops.aten.native_layer_norm_backward
        dx, dw, db = backward(dy, x, shape, mean, rstd, weight, weight, [True, True, True])
        return dx, dweight.add_(dw) if accumulate else dw, dbias.add_(db) if accumulate else db

    return call


def floor_y(x, weight, bias, *, eps):
    """Return what rounding the mean does to y: roundings of single elements move it less."""
    del bias
    return (np.abs(x).mean(axis=1) / np.sqrt(x.var(axis=1) + eps))[:, None] * np.abs(weight)


def floor_rstd(x, weight, bias, *, eps):
    """Return what the square of the error of the mean adds to the variance: C roundings where all elements are alike."""
    del weight, bias
    wrong = x.shape[1] * np.square(x).mean(axis=1) * np.finfo(np.float32).eps
    return wrong / (x.var(axis=1) + eps) ** 1.5


def floor_backward(dy, x, weight, mean, rstd, dweight, dbias, *, accumulate):
    """Return the size of the terms of dx, which cancel: for one channel altogether."""
    del dweight, dbias, accumulate
    dnormed, normed = np.abs(dy * weight), np.abs(x - mean[:, None]) * rstd[:, None]
    along = (dnormed * normed).mean(axis=1, keepdims=True)
    return (dnormed + dnormed.mean(axis=1, keepdims=True) + normed * along) * rstd[:, None]


DOMAIN = {"N": range(71), "C": range(1, 301)}


LAYER_NORM = Op(
    reference=layer_norm,
    outputs=("y", "mean", "rstd"),
    family="layer_norm",
    direction=Direction.FORWARD,
    oracle=_oracle,
    domain=DOMAIN,
    params={"eps": (EPS, 1e-6)},
    error=Sum(over="C", floor={"y": floor_y, "rstd": floor_rstd}),
    flops=lambda N, C: 8 * N * C,
)

LAYER_NORM_BACKWARD = Op(
    reference=layer_norm_backward,
    outputs=("dx", "dweight", "dbias"),
    family="layer_norm",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    params={"accumulate": (False, True)},
    saved=statistics,
    error=Sum(over="N+C", floor={"dx": floor_backward}),
    flops=lambda N, C: 14 * N * C,
)
