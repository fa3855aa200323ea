"""Ops whose outputs are plain sums of products of inputs: matrix products, sums, gathers, scatters.

If every input is rounded at random, an output moves by at least the root of the sum of its squared terms, because each term has
a factor with a rounding of its own. The reference of squared inputs is the sum of the squared terms. One evaluation therefore
gives a lower bound of the condition, for which `harness.proof.reference.tolerance` needs many.

The op need not declare its form. Over all combinations of signs of a few inputs, the mean square of an output is exactly the
sum of its squared terms. For these ops it equals the reference of squared inputs, and for no other op of the registry.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.values import drawn_arguments, materialise
from harness.proof.reference.oracle import run_reference
from registry.dtypes import is_float
from registry.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from registry.op import Op

    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["is_sum_of_products", "root_of_squared_terms"]

MOST_SIGNS = 12  # input elements whose signs are changed, in 4096 combinations
SAME = 1e-10  # relative and absolute difference


def root_of_squared_terms(op: Op, values: Arrays, params: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return, per output, the root of the sum of the squared terms of each element; for `is_sum_of_products` ops only."""
    squared = {n: np.square(a.astype(np.float64)) if is_float(a.dtype) else a for n, a in values.items()}
    return {n: np.sqrt(a) for n, a in run_reference(op, squared, params).items()}


@cache
def is_sum_of_products(op: Op) -> bool:
    """Return whether all outputs of an op are sums of products of its inputs; found by evaluating the reference."""
    return op.saved is None and all(_is_sum_of_products(op, which) for which in (0, -1))


def _tiny(op: Op) -> dict[str, int]:
    """Return dims for which there are few input elements: each dim is 2, or its smallest size above 0."""
    dims = {name: 2 if 2 in allowed else allowed[-1] for name, allowed in op.domain.items()}  # noqa: PLR2004 (two)
    for name in reversed(dims):
        if sum(math.prod(a.shape(dims)) for a in drawn_arguments(op) if a.name not in op.integers) > MOST_SIGNS:
            dims[name] = max(1, op.domain[name][0])
    return dims


def _is_sum_of_products(op: Op, which: int) -> bool:
    dims = _tiny(op)
    drawn = {n: v[which] for n, v in op.params.items() if not isinstance(v, str)}
    problem = Problem(op.name, dims, {**drawn, **op.bound_params(dims)}, op.dtypes[0])
    values = {n: a.astype(np.float64) if is_float(a.dtype) else a for n, a in materialise(op, problem).items()}
    floats = [a for a in values.values() if is_float(a.dtype)]
    if sum(a.size for a in floats) > MOST_SIGNS:
        return False
    nothing = {n: np.zeros_like(a) if is_float(a.dtype) else a for n, a in values.items()}
    if any(a.any() for a in run_reference(op, nothing, problem.params).values()):  # a constant term has no rounding
        return False
    expected = root_of_squared_terms(op, values, problem.params)
    squares = {n: np.zeros_like(a) for n, a in expected.items()}
    combinations = list(itertools.product((1.0, -1.0), repeat=sum(a.size for a in floats)))
    for signs in combinations:
        left = iter(signs)
        flipped = {
            n: a * np.fromiter(itertools.islice(left, a.size), np.float64).reshape(a.shape) if is_float(a.dtype) else a
            for n, a in values.items()
        }
        for name, result in run_reference(op, flipped, problem.params).items():
            squares[name] += np.square(result)
    return all(np.allclose(np.sqrt(squares[n] / len(combinations)), a, rtol=SAME, atol=SAME) for n, a in expected.items())
