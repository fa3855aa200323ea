"""Softmax over the last axis.

Dims: N = rows, C = classes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from registry import Direction, Op, Sum

Array = np.ndarray


def softmax(x: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """Return exp(x) divided by its sum over the row."""
    x = x.astype(np.float64)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(dy: Float[Array, "N C"], y: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """Return dx = y * (dy - sum(dy * y)) from the forward result y."""
    dy, y = dy.astype(np.float64), y.astype(np.float64)
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def _saved(y, **_):
    return {"y": softmax(y)}


def _oracle(torch, x):
    return (torch.nn.functional.softmax(x, dim=1),)


def _oracle_backward(torch, dy, y):
    """Autograd of softmax at log(y): the point, up to a constant, that the forward pass came from."""
    x = y.log().requires_grad_()
    return torch.autograd.grad(torch.nn.functional.softmax(x, dim=1), (x,), dy)


def _eager_backward(torch, dy, y):
    x = y.log().requires_grad_()
    result = torch.nn.functional.softmax(x, dim=1)
    return lambda: torch.autograd.grad(result, (x,), dy, retain_graph=True)


# Values of exp below the least normal float32 may become zero: 2**-126 in units of one rounding.
FLUSHED = 2.0**-102
# A GPT-2 step calls this op fused with others. The example is the size of the fused call.
EXAMPLES = {"logits-124m": {"N": 256, "C": 50304}}
DOMAIN = {"N": range(71), "C": range(1, 301)}


SOFTMAX = Op(
    reference=softmax,
    outputs=("y",),
    family="softmax",
    direction=Direction.FORWARD,
    oracle=_oracle,
    domain=DOMAIN,
    dtypes=("float32",),  # no part of a training step: there it is fused
    error=Sum(over="C", floor={"y": lambda _: FLUSHED}),
    examples=EXAMPLES,
    flops=lambda N, C: 5 * N * C,
)

SOFTMAX_BACKWARD = Op(
    reference=softmax_backward,
    outputs=("dx",),
    family="softmax",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    dtypes=("float32",),  # no part of a training step: there it is fused
    saved=_saved,
    error=Sum(over="C", floor={"dx": lambda dy, _: FLUSHED * np.abs(dy).max(axis=1, keepdims=True)}),
    examples=EXAMPLES,
    flops=lambda N, C: 4 * N * C,
)
