"""The Euclidean norm of all gradients, by which they are clipped.

Dims: K = gradients.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from registry import Direction, Op, Sum

Array = np.ndarray


def global_norm(grad: Float[Array, "K"]) -> Float32[Array, "1"]:
    """Return the square root of the sum of squares."""
    return np.sqrt(np.square(grad.astype(np.float64)).sum(keepdims=True))


def _oracle(torch, grad):
    return (torch.linalg.vector_norm(grad).reshape(1),)


GLOBAL_NORM = Op(
    reference=global_norm,
    outputs=("norm",),
    family="global_norm",
    direction=Direction.UPDATE,
    oracle=_oracle,
    domain={"K": range(5001)},
    error=Sum(over="K"),
    flops=lambda K: 2 * K,
)
