"""RMS norm inside a small model block: outputs and gradients are those of torch's module."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import discover

TABLE = discover()
PAIRS = ["numpy", "numba_naive", "numba_rows"]
EPS = 1e-5


class Norm:
    """One variant of RMS norm, forward and backward, with its weight and the gradient of it."""

    def __init__(self, name, weight):
        self.forward_variant, self.backward_variant = TABLE.variant("rms_norm", name), TABLE.variant("rms_norm_backward", name)
        self.weight, self.dweight = weight, np.zeros_like(weight)

    def forward(self, x):
        """Return y, and keep x and rstd."""
        self.x, self.rstd, y = x, np.empty(len(x), np.float32), np.empty_like(x)
        self.forward_variant.function(x, self.weight, y, self.rstd, eps=EPS)
        return y

    def backward(self, dy):
        """Return dx, and add to dweight."""
        dx, variant = np.empty_like(dy), self.backward_variant
        dims = dict(zip("NC", dy.shape, strict=True))
        work = {"workspace": np.empty(variant.workspace_size(dims, 8), np.float32)} if variant.workspace else {}
        variant.function(dy, self.x, self.weight, self.rstd, dx, self.dweight, accumulate=True, **work)
        return dx


def floats(random, *shape):
    """Return normal numbers."""
    return random.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=10, deadline=None)
@given(rows=st.integers(1, 9), channels=st.integers(2, 70), seed=st.integers(0, 2**31))
def test_a_block_has_the_outputs_and_the_gradients_of_torchs_module(name, rows, channels, seed):
    """Two micro-batches through z = final(x + tanh(first(x)) @ matrix); the gradients of the weights add up."""
    random = np.random.default_rng(seed)
    matrix = floats(random, channels, channels) / np.float32(np.sqrt(channels))
    first, final = (Norm(name, floats(random, channels)) for _ in range(2))
    modules = [torch.nn.RMSNorm(channels, eps=EPS, dtype=torch.float64) for _ in range(2)]
    for module, norm in zip(modules, (first, final), strict=True):
        module.weight.data = torch.from_numpy(norm.weight.astype(np.float64))

    for _ in range(2):
        x, dz = floats(random, rows, channels), floats(random, rows, channels)
        hidden = np.tanh(first.forward(x))
        z = final.forward(x + hidden @ matrix)
        dsum = final.backward(dz)
        dx = dsum + first.backward((dsum @ matrix.T) * (1 - hidden * hidden))

        leaf = torch.from_numpy(x.astype(np.float64)).requires_grad_()
        exact = modules[1](leaf + torch.tanh(modules[0](leaf)) @ torch.from_numpy(matrix.astype(np.float64)))
        exact.backward(torch.from_numpy(dz.astype(np.float64)))
        close(z, exact)
        close(dx, leaf.grad)
    for module, norm in zip(modules, (first, final), strict=True):
        close(norm.dweight, module.weight.grad)


def close(found, exact):
    """Compare with torch in float64: a thousand roundings of the largest element, for a block of ten operations."""
    exact = exact.detach().numpy()
    np.testing.assert_allclose(found, exact, rtol=0, atol=1000 * np.finfo(np.float32).eps * max(np.abs(exact).max(), 1))


def test_the_saved_statistic_is_that_of_the_forward_pass():
    random = np.random.default_rng(0)
    x, op = floats(random, 5, 33), TABLE.op("rms_norm_backward")
    _, rstd = TABLE.op("rms_norm").reference(x, floats(random, 33), eps=EPS)
    np.testing.assert_array_equal(op.saved(x=x)["rstd"], rstd)
