"""The values of a call at the shape of a training run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proof.cases import training_values as module
from harness.proof.cases.training_values import training_values
from registry.problem import Problem
from registry.table import discover

TABLE = discover()


@given(bound=st.integers(1, 50_257), rows=st.integers(1, 300), seed=st.integers(0, 99))
def test_targets_are_in_range_and_the_last_one_is_among_them(bound, rows, seed):
    op = TABLE.op("cross_entropy")
    dims = {"N": rows, "V": bound, "P": 0}
    cheap = Problem("cross_entropy", {**dims, "N": 0}, op.bound_params(dims))
    assert training_values(op, cheap)["targets"].size == 0
    ids = np.empty(rows, np.int32)
    module._fill_ids(ids, bound, [seed])  # noqa: SLF001 (`training_values` would make a matrix of logits too)
    assert ids.min() >= 0
    assert ids.max() == bound - 1


def test_frequent_tokens_repeat():
    op = TABLE.op("embedding")
    dims = {"B": 4, "T": 64, "V": 50_257, "P": 0, "S": 0, "C": 1}
    tokens = training_values(op, Problem("embedding", dims))["tokens"]
    assert len(np.unique(tokens)) < 0.9 * tokens.size


def test_second_moments_are_never_negative_and_the_seed_decides():
    op = TABLE.op("adamw")
    params = {n: v[0] for n, v in op.params.items()}
    one, again, other = (training_values(op, Problem("adamw", {"K": 999}, params, seed=s)) for s in (0, 0, 1))
    assert (one["v"] >= 0).all()
    assert all(np.array_equal(one[n], again[n]) for n in one)
    assert not np.array_equal(one["grad"], other["grad"])
    assert not np.array_equal(one["grad"], one["m"])


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100])
def test_long_arrays_are_filled_whole_and_their_blocks_differ(size, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 8)
    op = TABLE.op("global_norm")
    grad = training_values(op, Problem("global_norm", {"K": size}))["grad"]
    assert (grad != 0).all()
    blocks = {tuple(grad[i : i + 8]) for i in range(0, size, 8)}
    assert len(blocks) >= size // 24
    assert {round(float(x), 6) for x in grad} == {round(float(x), 6) for x in grad[:8]}
