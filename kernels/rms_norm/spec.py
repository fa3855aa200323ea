"""Root mean square normalisation over the last axis: B. Zhang and R. Sennrich (2019), arXiv:1910.07467.

Llama normalises by it where GPT-2 uses layer normalisation: a row is divided by its root mean square, without a mean and
without a bias.

Dims: N = rows (batch x time), C = channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from registry import Direction, Op, Sum

Array = np.ndarray
EPS = 1e-5  # of Llama 2


def rms_norm(
    x: Float[Array, "N C"], weight: Float[Array, "C"], *, eps: float
) -> tuple[Float[Array, "N C"], Float32[Array, "N"]]:
    """Return y = x * rstd * weight, and rstd = 1 / sqrt(mean(x * x) + eps) of each row."""
    x = x.astype(np.float64)
    rstd = 1 / np.sqrt(np.square(x).mean(axis=1) + eps)
    return x * rstd[:, None] * weight, rstd


def rms_norm_backward(
    dy: Float[Array, "N C"],
    x: Float[Array, "N C"],
    weight: Float[Array, "C"],
    rstd: Float32[Array, "N"],
    dweight: Float[Array, "C"],
    *,
    accumulate: bool,
) -> tuple[Float[Array, "N C"], Float[Array, "C"]]:
    """Return dx and dweight; dweight is added to its old value if `accumulate`."""
    dy, x = dy.astype(np.float64), x.astype(np.float64)
    normed = x * rstd[:, None]
    dnormed = dy * weight
    dx = (dnormed - normed * (dnormed * normed).mean(axis=1, keepdims=True)) * rstd[:, None]
    gradient = (dy * normed).sum(axis=0)
    return dx, gradient + dweight if accumulate else gradient


def _saved(x, **_):
    _, rstd = rms_norm(x, 1, eps=EPS)
    return {"rstd": rstd}


def _oracle(torch, x, weight, *, eps):
    return torch.nn.functional.rms_norm(x, x.shape[1:], weight, eps), (x.square().mean(dim=1) + eps).rsqrt()


def _oracle_backward(torch, dy, x, weight, rstd, dweight, *, accumulate):
    del rstd
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = torch.nn.functional.rms_norm(x, x.shape[1:], weight, EPS)
    dx, gradient = torch.autograd.grad(y, (x, weight), dy)
    return dx, gradient + dweight if accumulate else gradient


def _eager(torch, x, weight, *, eps):
    return lambda: torch.nn.functional.rms_norm(x, x.shape[1:], weight, eps)


def _eager_backward(torch, dy, x, weight, rstd, dweight, *, accumulate):
    del rstd
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = torch.nn.functional.rms_norm(x, x.shape[1:], weight, EPS)

    def call():
        dx, gradient = torch.autograd.grad(y, (x, weight), dy, retain_graph=True)
        return dx, dweight.add_(gradient) if accumulate else gradient

    return call


# A GPT-2 step does not call this op. Llama-2-7B has 4096 channels; 4095 of them are no multiple of a vector.
EXAMPLES = {"llama2-7b": {"N": 256, "C": 4096}, "ragged": {"N": 253, "C": 4095}}
DOMAIN = {"N": range(71), "C": range(1, 301)}


RMS_NORM = Op(
    reference=rms_norm,
    outputs=("y", "rstd"),
    family="rms_norm",
    direction=Direction.FORWARD,
    oracle=_oracle,
    eager=_eager,
    domain=DOMAIN,
    params={"eps": (EPS, 1e-6)},
    error=Sum(over="C"),
    examples=EXAMPLES,
    flops=lambda N, C: 4 * N * C,
)

RMS_NORM_BACKWARD = Op(
    reference=rms_norm_backward,
    outputs=("dx", "dweight"),
    family="rms_norm",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    params={"accumulate": (False, True)},
    saved=_saved,
    error=Sum(over="N+C"),
    examples=EXAMPLES,
    flops=lambda N, C: 9 * N * C,
)
