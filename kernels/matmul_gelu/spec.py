"""A linear layer followed by GELU (tanh form), and the gradient through the GELU into a linear layer's input.

Dims: N = rows (batch x time), C = input channels, O = output channels.

The backward op belongs to the linear layer after the GELU. It multiplies the input gradient ``dy @ weight`` of that layer by
the derivative of the GELU at its argument ``pre``.
"""

import numpy as np
from jaxtyping import Float

from kernels.gelu.spec import CUBIC, gelu, gelu_backward
from kernels.matmul.spec import matmul, matmul_backward_input
from registry import Direction, Op, Sum

Array = np.ndarray


def matmul_gelu(
    x: Float[Array, "N C"], weight: Float[Array, "O C"], bias: Float[Array, "O"]
) -> tuple[Float[Array, "N O"], Float[Array, "N O"]]:
    """Return pre = x @ weight.T + bias and y = gelu(pre)."""
    pre = matmul(x, weight, bias)
    return pre, gelu(pre)


def matmul_gelu_backward(dy: Float[Array, "N O"], weight: Float[Array, "O C"], pre: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """Return dpre = (dy @ weight) * gelu'(pre)."""
    return gelu_backward(matmul_backward_input(dy, weight), pre)


def _gelu(torch, x):
    return torch.nn.functional.gelu(x, approximate="tanh")


def _oracle(torch, x, weight, bias):
    pre = torch.nn.functional.linear(x, weight, bias)
    return pre, _gelu(torch, pre)


def _oracle_backward(torch, dy, weight, pre):
    pre = pre.detach().requires_grad_()
    return torch.autograd.grad(torch.nn.functional.linear(_gelu(torch, pre), weight), pre, dy)


def _eager(torch, x, weight, bias):
    pre = x.new_empty((x.shape[0], weight.shape[0]))
    y = torch.empty_like(pre)

    def call():
        torch.addmm(bias, x, weight.t(), out=pre)
        torch.ops.aten.gelu.out(pre, approximate="tanh", out=y)

    return call


def _eager_backward(torch, dy, weight, pre):
    dgelu, dpre = torch.empty_like(pre), torch.empty_like(pre)

    def call():
        torch.mm(dy, weight, out=dgelu)
        torch.ops.aten.gelu_backward.grad_input(dgelu, pre, approximate="tanh", grad_input=dpre)

    return call


def _size_of_pre(x, weight, bias):
    return np.abs(matmul_gelu(x, weight, bias)[0])


def _size_of_slope_terms(dy, weight, pre):
    # Where gelu'(pre) is small, it is a difference of terms that a saturating tanh leaves with absolute errors.
    bounded = np.minimum(np.abs(pre.astype(np.float64)), 6)
    return np.abs(dy.astype(np.float64) @ weight.astype(np.float64)) * (1 + bounded * (1 + 3 * CUBIC * bounded**2))


MATMUL_GELU = Op(
    reference=matmul_gelu,
    outputs=("pre", "y"),
    family="matmul_gelu",
    direction=Direction.FORWARD,
    oracle=_oracle,
    eager=_eager,
    domain={"N": range(131), "O": range(301), "C": range(1101)},
    error=Sum(over="C", floor={"y": _size_of_pre}),
    flops=lambda N, C, O: 2 * N * C * O + 12 * N * O,  # noqa: E741 (O is the dim's name)
)

MATMUL_GELU_BACKWARD = Op(
    reference=matmul_gelu_backward,
    outputs=("dpre",),
    family="matmul_gelu",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain={"N": range(131), "O": range(1101), "C": range(301)},
    error=Sum(over="O", floor={"dpre": _size_of_slope_terms}),
    flops=lambda N, C, O: 2 * N * C * O + 20 * N * C,  # noqa: E741 (O is the dim's name)
)
