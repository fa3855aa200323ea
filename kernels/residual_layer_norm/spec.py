"""Residual sum and layer normalisation of it, in one op.

Dims: N = rows (batch x time), C = channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from kernels.layer_norm.spec import EPS, floor_backward, floor_rstd, floor_y, layer_norm, layer_norm_backward, statistics
from kernels.residual.spec import residual as add
from registry import Direction, Op, Sum

Array = np.ndarray


def residual_layer_norm(
    x1: Float[Array, "N C"], x2: Float[Array, "N C"], weight: Float[Array, "C"], bias: Float[Array, "C"], *, eps: float
) -> tuple[Float[Array, "N C"], Float[Array, "N C"], Float32[Array, "N"], Float32[Array, "N"]]:
    """Return residual = x1 + x2, y = its layer normalisation, and the row statistics mean and rstd."""
    residual = add(x1, x2)
    return residual, *layer_norm(residual, weight, bias, eps=eps)


def residual_layer_norm_backward(
    dy: Float[Array, "N C"],
    dresidual: Float[Array, "N C"],
    residual: Float[Array, "N C"],
    weight: Float[Array, "C"],
    mean: Float32[Array, "N"],
    rstd: Float32[Array, "N"],
    dweight: Float[Array, "C"],
    dbias: Float[Array, "C"],
    *,
    accumulate: bool,
) -> tuple[Float[Array, "N C"], Float[Array, "C"], Float[Array, "C"]]:
    """Return dx, the gradient of both x1 and x2, and dweight and dbias, added to the old gradients if `accumulate`."""
    dx, dweight, dbias = layer_norm_backward(dy, residual, weight, mean, rstd, dweight, dbias, accumulate=accumulate)
    return add(dresidual, dx), dweight, dbias


def _oracle(torch, x1, x2, weight, bias, *, eps):
    residual = x1 + x2
    y, mean, rstd = torch.native_layer_norm(residual, residual.shape[1:], weight, bias, eps)
    return residual, y, mean.squeeze(1), rstd.squeeze(1)


def _oracle_backward(torch, dy, dresidual, residual, weight, mean, rstd, dweight, dbias, *, accumulate):
    del mean, rstd
    x = residual.clone().requires_grad_()
    weight, bias = weight.clone().requires_grad_(), torch.zeros_like(weight, requires_grad=True)
    y = torch.nn.functional.layer_norm(x, x.shape[1:], weight, bias, EPS)
    dx, dw, db = torch.autograd.grad((x * 1, y), (x, weight, bias), (dresidual, dy))
    return dx, dw + dweight if accumulate else dw, db + dbias if accumulate else db


def _eager_backward(torch, dy, dresidual, residual, weight, mean, rstd, dweight, dbias, *, accumulate):
    mean, rstd, shape = mean[:, None], rstd[:, None], residual.shape[1:]

    def call():
        backward = torch.ops.aten.native_layer_norm_backward
        dx, dw, db = backward(dy, residual, shape, mean, rstd, weight, weight, [True, True, True])
        return dx.add_(dresidual), dweight.add_(dw) if accumulate else dw, dbias.add_(db) if accumulate else db

    return call


def _floor(x1, x2, weight, bias, *, eps):
    return floor_y(x1 + x2, weight, bias, eps=eps)


def _floor_rstd(x1, x2, weight, bias, *, eps):
    return floor_rstd(x1 + x2, weight, bias, eps=eps)


def _floor_backward(dy, dresidual, *rest, accumulate):
    return np.abs(dresidual) + floor_backward(dy, *rest, accumulate=accumulate)


DOMAIN = {"N": range(71), "C": range(1, 301)}


RESIDUAL_LAYER_NORM = Op(
    reference=residual_layer_norm,
    outputs=("residual", "y", "mean", "rstd"),
    family="residual_layer_norm",
    direction=Direction.FORWARD,
    oracle=_oracle,
    domain=DOMAIN,
    params={"eps": (EPS, 1e-6)},
    error=Sum(over="C", floor={"y": _floor, "rstd": _floor_rstd}),
    flops=lambda N, C: 9 * N * C,
)

RESIDUAL_LAYER_NORM_BACKWARD = Op(
    reference=residual_layer_norm_backward,
    outputs=("dx", "dweight", "dbias"),
    family="residual_layer_norm",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    params={"accumulate": (False, True)},
    saved=lambda residual, **_: statistics(residual),
    error=Sum(over="N+C", floor={"dx": _floor_backward}),
    flops=lambda N, C: 15 * N * C,
)
