"""Cross entropy of integer targets over a padded vocabulary.

Dims: N = rows (batch x time), V = classes in use, P = padding columns, W = V + P.

The padding columns follow the classes in use. No kernel reads them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int32

from kernels.softmax.spec import softmax
from registry import Direction, Op, Sum

Array = np.ndarray


def cross_entropy(logits: Float[Array, "N V+P"], targets: Int32[Array, "N"], *, vocab_size: int) -> Float32[Array, "N"]:
    """Return, per row, the negative log-probability of the target among the first `vocab_size` columns."""
    x = logits[:, :vocab_size].astype(np.float64)
    largest = x.max(axis=1)
    return largest + np.log(np.exp(x - largest[:, None]).sum(axis=1)) - x[np.arange(len(x)), targets]


def cross_entropy_backward(
    targets: Int32[Array, "N"], logits: Float[Array, "N V+P"], *, vocab_size: int, scale: float
) -> tuple[Float32[Array, "N"], Float[Array, "N V+P"]]:
    """Return the losses, and in place of the logits their gradient (softmax - onehot) * scale, 0 in the padding."""
    gradient = np.zeros(logits.shape)
    gradient[:, :vocab_size] = softmax(logits[:, :vocab_size])
    gradient[np.arange(len(logits)), targets] -= 1
    return cross_entropy(logits, targets, vocab_size=vocab_size), gradient * scale


def _oracle(torch, logits, targets, *, vocab_size):
    return (torch.nn.functional.cross_entropy(logits[:, :vocab_size], targets.long(), reduction="none"),)


def _oracle_backward(torch, targets, logits, *, vocab_size, scale):
    logits = logits.requires_grad_()
    losses = torch.nn.functional.cross_entropy(logits[:, :vocab_size], targets.long(), reduction="none")
    (gradient,) = torch.autograd.grad(losses, (logits,), torch.full_like(losses, scale))
    return losses.detach(), gradient


def _eager(torch, logits, targets, *, vocab_size):
    """Without the padding, which torch would copy out of its way."""
    logits, targets = logits[:, :vocab_size].contiguous(), targets.long()
    return lambda: torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def _eager_backward(torch, targets, logits, *, vocab_size, scale):
    """Losses and gradient, as the op; without the padding."""
    logits, targets = logits[:, :vocab_size].contiguous().requires_grad_(), targets.long()
    weights = torch.full((len(targets),), scale, dtype=logits.dtype)

    def call():
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return torch.autograd.grad(losses, (logits,), weights)

    return call


def _one_hot(targets, logits, *, scale, **_):
    """At the target p - 1 cancels; elsewhere only values of exp below the least normal float32 may become zero."""
    floor = np.full(logits.shape, 2.0**-102)
    floor[np.arange(len(targets)), targets] = abs(scale)
    return floor


DOMAIN = {"N": range(41), "V": range(1, 301), "P": range(41)}


CROSS_ENTROPY = Op(
    reference=cross_entropy,
    outputs=("losses",),
    family="cross_entropy",
    direction=Direction.FORWARD,
    oracle=_oracle,
    eager=_eager,
    domain=DOMAIN,
    params={"vocab_size": "V"},
    integers={"targets": "V"},
    # The logarithm of a sum between 1 and V is added to the largest logit.
    error=Sum(over="V", floor={"losses": lambda *_, **__: 1.0}),
    touched={"logits": "N*V"},
    flops=lambda N, V, P: 4 * N * V,  # noqa: ARG005 (padding is not looked at)
)

CROSS_ENTROPY_BACKWARD = Op(
    reference=cross_entropy_backward,
    outputs=("losses", "logits"),
    family="cross_entropy",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    params={"vocab_size": "V", "scale": (1.0, 0.00390625, 0.1)},
    integers={"targets": "V"},
    error=Sum(over="V", floor={"losses": lambda *_, **__: 1.0, "logits": _one_hot}),
    touched={"logits": "N*V"},
    flops=lambda N, V, P: 7 * N * V,  # noqa: ARG005 (padding is only zeroed)
)
