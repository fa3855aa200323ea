"""The parts of a large problem: each depends on its own inputs alone, and together they are the whole problem."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proof.cases.values import materialise
from harness.proof.reference.oracle import run_reference
from harness.proof.reference.slices import independent_dims, parts, take
from registry.problem import Problem
from registry.table import discover

TABLE = discover()
EXPECTED = {
    "adamw": {"K"},
    "adamw_master": set(),  # its random bits depend on the index of an element
    "attention": {"B"},
    "attention_backward": {"B"},
    "cross_entropy": {"N"},
    "embedding_backward": {"C"},
    "global_norm": set(),
    "layer_norm": {"N"},
    "layer_norm_backward": set(),
    "matmul": {"N", "O"},
    "matmul_backward_input": {"N", "C"},
    "matmul_backward_weight": {"O", "C"},
    "matmul_gelu": {"N", "O"},
    "residual_layer_norm_backward": set(),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_dims_that_can_be_cut_are_found_by_trial(name):
    assert set(independent_dims(TABLE.op(name))) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(TABLE.ops))
@given(data=st.data())
def test_parts_are_the_whole_and_follow_from_their_own_inputs(name, data):
    op = TABLE.op(name)
    dims = {n: data.draw(st.integers(max(1, r[0]), min(r[-1], 9)), label=n) for n, r in op.domain.items()}
    params = {n: data.draw(st.sampled_from(v), label=n) for n, v in op.params.items() if not isinstance(v, str)}
    problem = Problem(op.name, dims, {**params, **op.bound_params(dims)}, op.dtypes[0])
    values = materialise(op, problem)
    whole = run_reference(op, values, problem.params)
    seen = {n: np.zeros(a.shape, int) for n, a in whole.items()}
    for part in parts(op, problem, values, whole, data.draw(st.integers(1, 300), label="most")):
        outputs = run_reference(op, part.values, part.problem.params)
        for output, array in part.outputs.items():
            np.testing.assert_allclose(outputs[output], array, rtol=1e-9, atol=1e-9)
            for index in np.ndindex(array.shape):
                place = part.place(output, index)
                seen[output][place] += 1
                np.testing.assert_array_equal(whole[output][place], array[index])
    assert all((counts == 1).all() for counts in seen.values())


def test_some_indices_of_a_part_keep_their_places():
    op = TABLE.op("matmul")
    problem = Problem("matmul", {"N": 3, "O": 40, "C": 2})
    values = materialise(op, problem)
    whole = run_reference(op, values, {})
    last = list(parts(op, problem, values, whole, 60))[-1]
    some = last.some(np.array([0, len(last.indices) - 1]))
    assert some.problem.dims["O"] == 2
    assert some.place("y", (2, 1)) == (2, 39)
    np.testing.assert_array_equal(some.outputs["y"][:, 1], whole["y"][:, 39])
    np.testing.assert_array_equal(take(op, values, "O", np.array([39]))["weight"], some.values["weight"][1:])
