"""The residual sum.

Dims: N = rows (batch x time), C = channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from registry import Direction, Elementwise, Op

Array = np.ndarray


def residual(x1: Float[Array, "N C"], x2: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """Return y = x1 + x2."""
    return x1.astype(np.float64) + x2


def residual_backward(
    dy: Float[Array, "N C"], dx1: Float[Array, "N C"], dx2: Float[Array, "N C"], *, accumulate: bool
) -> tuple[Float[Array, "N C"], Float[Array, "N C"]]:
    """Return dx1 and dx2, both equal to dy; added to the old gradients if `accumulate`."""
    dy = dy.astype(np.float64)
    return dy + dx1 if accumulate else dy, dy + dx2 if accumulate else dy


def _oracle(torch, x1, x2):
    return (torch.add(x1, x2),)


def _oracle_backward(torch, dy, dx1, dx2, *, accumulate):
    x1, x2 = torch.zeros_like(dy, requires_grad=True), torch.zeros_like(dy, requires_grad=True)
    grad1, grad2 = torch.autograd.grad(x1 + x2, (x1, x2), dy)
    return grad1 + dx1 if accumulate else grad1, grad2 + dx2 if accumulate else grad2


def _eager_backward(torch, dy, dx1, dx2, *, accumulate):
    del torch
    return (lambda: (dx1.add_(dy), dx2.add_(dy))) if accumulate else (lambda: (dx1.copy_(dy), dx2.copy_(dy)))


# A GPT-2 step calls this op fused with others. The example is the size of the fused call.
EXAMPLES = {"stream-124m": {"N": 256, "C": 768}}
DOMAIN = {"N": range(71), "C": range(301)}


RESIDUAL = Op(
    reference=residual,
    outputs=("y",),
    family="residual",
    direction=Direction.FORWARD,
    oracle=_oracle,
    domain=DOMAIN,
    error=Elementwise(ulps=1.0),
    examples=EXAMPLES,
    flops=lambda N, C: N * C,
)

RESIDUAL_BACKWARD = Op(
    reference=residual_backward,
    outputs=("dx1", "dx2"),
    family="residual",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    params={"accumulate": (False, True)},
    error=Elementwise(ulps=1.0),
    examples=EXAMPLES,
    flops=lambda N, C: 2 * N * C,
)
