"""The matrix product of a linear layer, and its three gradients.

Dims: N = rows (batch x time), C = input channels, O = output channels.

The weight has one row per output, as in torch.
"""

import numpy as np
from jaxtyping import Float

from registry import Direction, Op, Sum

Array = np.ndarray


def matmul(x: Float[Array, "N C"], weight: Float[Array, "O C"], bias: Float[Array, "O"]) -> Float[Array, "N O"]:
    """Return y = x @ weight.T + bias."""
    return x.astype(np.float64) @ weight.astype(np.float64).T + bias


def matmul_backward_input(dy: Float[Array, "N O"], weight: Float[Array, "O C"]) -> Float[Array, "N C"]:
    """Return dx = dy @ weight."""
    return dy.astype(np.float64) @ weight.astype(np.float64)


def matmul_backward_weight(
    dy: Float[Array, "N O"], x: Float[Array, "N C"], dweight: Float[Array, "O C"], *, accumulate: bool
) -> Float[Array, "O C"]:
    """Return dweight = dy.T @ x, added to the old gradients if `accumulate`."""
    gradient = dy.astype(np.float64).T @ x.astype(np.float64)
    return gradient + dweight if accumulate else gradient


def matmul_backward_bias(dy: Float[Array, "N O"], dbias: Float[Array, "O"], *, accumulate: bool) -> Float[Array, "O"]:
    """Return dbias = dy summed over the rows, added to the old gradients if `accumulate`."""
    gradient = dy.sum(axis=0, dtype=np.float64)
    return gradient + dbias if accumulate else gradient


def _oracle(torch, x, weight, bias):
    return (torch.nn.functional.linear(x, weight, bias),)


def _oracle_backward_input(torch, dy, weight):
    x = dy.new_zeros((dy.shape[0], weight.shape[1]), requires_grad=True)
    return torch.autograd.grad(torch.nn.functional.linear(x, weight), x, dy)


def _oracle_backward_weight(torch, dy, x, dweight, *, accumulate):
    weight = torch.zeros_like(dweight, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.nn.functional.linear(x, weight), weight, dy)
    return (dweight + gradient if accumulate else gradient,)


def _oracle_backward_bias(torch, dy, dbias, *, accumulate):
    bias = torch.zeros_like(dbias, requires_grad=True)
    (gradient,) = torch.autograd.grad(bias.expand_as(dy), bias, dy)
    return (dbias + gradient if accumulate else gradient,)


# torch is timed into memory that is there already, as the variants are: fresh pages would cost it more than the product.


def _eager(torch, x, weight, bias):
    y = x.new_empty((x.shape[0], weight.shape[0]))
    return lambda: torch.addmm(bias, x, weight.t(), out=y)


def _eager_backward_input(torch, dy, weight):
    dx = dy.new_empty((dy.shape[0], weight.shape[1]))
    return lambda: torch.mm(dy, weight, out=dx)


def _eager_backward_weight(torch, dy, x, dweight, *, accumulate):
    if accumulate:
        return lambda: dweight.addmm_(dy.t(), x)
    return lambda: torch.mm(dy.t(), x, out=dweight)


def _eager_backward_bias(torch, dy, dbias, *, accumulate):
    if accumulate:
        return lambda: dbias.add_(dy.sum(0))
    return lambda: torch.sum(dy, 0, out=dbias)


# The reduced dim reaches beyond one block of it, the others beyond several register tiles.

MATMUL = Op(
    reference=matmul,
    outputs=("y",),
    family="matmul",
    direction=Direction.FORWARD,
    oracle=_oracle,
    eager=_eager,
    domain={"N": range(131), "O": range(301), "C": range(1101)},
    error=Sum(over="C"),
    flops=lambda N, C, O: 2 * N * C * O,  # noqa: E741 (O is the dim's name)
)

MATMUL_BACKWARD_INPUT = Op(
    reference=matmul_backward_input,
    outputs=("dx",),
    family="matmul",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward_input,
    eager=_eager_backward_input,
    domain={"N": range(131), "O": range(1101), "C": range(301)},
    error=Sum(over="O"),
    flops=lambda N, C, O: 2 * N * C * O,  # noqa: E741 (O is the dim's name)
)

MATMUL_BACKWARD_WEIGHT = Op(
    reference=matmul_backward_weight,
    outputs=("dweight",),
    family="matmul",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward_weight,
    eager=_eager_backward_weight,
    domain={"N": range(1101), "O": range(301), "C": range(131)},
    params={"accumulate": (False, True)},
    error=Sum(over="N"),
    flops=lambda N, C, O: 2 * N * C * O,  # noqa: E741 (O is the dim's name)
)

MATMUL_BACKWARD_BIAS = Op(
    reference=matmul_backward_bias,
    outputs=("dbias",),
    family="matmul",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward_bias,
    eager=_eager_backward_bias,
    domain={"N": range(301), "O": range(301)},
    params={"accumulate": (False, True)},
    error=Sum(over="N"),
    flops=lambda N, O: N * O,  # noqa: E741 (O is the dim's name)
)
