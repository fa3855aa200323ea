"""GELU in its tanh form: D. Hendrycks and K. Gimpel, Gaussian Error Linear Units (2016), arXiv:1606.08415.

Dims: N = rows (batch x time), C = channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from registry import Direction, Elementwise, Op

Array = np.ndarray
SLOPE, CUBIC = np.sqrt(2 / np.pi), 0.044715


def gelu(x: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """Return y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3)))."""
    x = x.astype(np.float64)
    return 0.5 * x * (1 + np.tanh(SLOPE * (x + CUBIC * x**3)))


def gelu_backward(dy: Float[Array, "N C"], x: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """Return dx = dy times the derivative of gelu at x."""
    x = x.astype(np.float64)
    t = np.tanh(SLOPE * (x + CUBIC * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SLOPE * (1 + 3 * CUBIC * x * x))


def _oracle(torch, x):
    return (torch.nn.functional.gelu(x, approximate="tanh"),)


def _oracle_backward(torch, dy, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(torch.nn.functional.gelu(x, approximate="tanh"), x, dy)


def _eager_backward(torch, dy, x):
    return lambda: torch.ops.aten.gelu_backward(dy, x, approximate="tanh")


def _floor_backward(dy, x):
    """Return the size of 1 + t and of x (1 - t*t), whose error is of the order of x until t itself rounds to 1."""
    return np.abs(dy) * (1 + np.minimum(np.abs(x), 10))


# A GPT-2 step calls this op fused with others. The example is the size of the fused call.
EXAMPLES = {"hidden-124m": {"N": 256, "C": 3072}}
DOMAIN = {"N": range(71), "C": range(301)}


GELU = Op(
    reference=gelu,
    outputs=("y",),
    family="gelu",
    direction=Direction.FORWARD,
    oracle=_oracle,
    domain=DOMAIN,
    error=Elementwise(floor={"y": np.abs}),
    examples=EXAMPLES,
    flops=lambda N, C: 9 * N * C,
)

GELU_BACKWARD = Op(
    reference=gelu_backward,
    outputs=("dx",),
    family="gelu",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    error=Elementwise(floor={"dx": _floor_backward}),
    examples=EXAMPLES,
    flops=lambda N, C: 18 * N * C,
)
