"""The ops that are sums of products, and the lower bound of the condition from their squared terms."""

import numpy as np
import pytest

from harness.proof.cases.values import materialise
from harness.proof.reference.sums_of_products import is_sum_of_products, root_of_squared_terms
from harness.proof.reference.tolerance import EPS, _condition
from registry.problem import Problem
from registry.table import discover

TABLE = discover()
SUMS = {
    "embedding",
    "embedding_backward",
    "matmul",
    "matmul_backward_bias",
    "matmul_backward_input",
    "matmul_backward_weight",
    "residual",
    "residual_backward",
}


@pytest.mark.parametrize("name", sorted(TABLE.ops))
def test_these_are_sums_of_products_and_no_others(name):
    assert is_sum_of_products(TABLE.op(name)) == (name in SUMS)


@pytest.mark.parametrize("name", sorted(SUMS))
def test_the_squared_terms_are_no_more_than_the_measured_condition(name):
    op = TABLE.op(name)
    dims = {n: min(r[-1], 24) for n, r in op.domain.items()}
    drawn = {n: v[-1] for n, v in op.params.items() if not isinstance(v, str)}
    problem = Problem(name, dims, {**drawn, **op.bound_params(dims)})
    values = materialise(op, problem)
    measured = _condition(op, values, problem.params, EPS, 1)
    for output, bound in root_of_squared_terms(op, values, problem.params).items():
        rms = np.sqrt(
            np.mean(np.square(measured[output]))
        )  # over all elements, because 8 draws measure a single element inexactly
        assert np.sqrt(np.mean(np.square(bound))) <= 1.1 * rms
