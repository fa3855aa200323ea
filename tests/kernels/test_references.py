"""The numpy reference beside torch: an element is checked where both have a finite value."""

import numpy as np
import pytest

from harness.proof.cases.strategies import basics
from harness.proof.cases.values import materialise
from harness.proof.reference.oracle import run_oracle, run_reference
from registry.table import discover


@pytest.mark.parametrize("op", discover().ops.values(), ids=lambda op: op.name)
def test_a_special_value_leaves_the_reference_finite_where_torch_is(op):
    """The battery checks no element whose reference overflows, so no reference may overflow where torch is finite."""
    for problem in (p for p in basics(op, op.dtypes) if p.special_values):
        values = materialise(op, problem)
        reference = run_reference(op, values, problem.params)
        for name, exact in run_oracle(op, values, problem.params).items():
            assert np.isfinite(reference[name][np.isfinite(exact)]).all(), (str(problem), name)
