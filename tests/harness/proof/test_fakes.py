"""Fake kernels: the basic problems reject all of them, an empty problem rejects none."""

import itertools

import numpy as np
import pytest

from harness.proof.cases.strategies import basics
from harness.proof.cases.values import materialise
from harness.proof.reference.fakes import Tally, fakes_of
from harness.proof.reference.tolerance import compute_reference
from registry.problem import Problem
from registry.table import discover

TABLE = discover()
OPS = list(TABLE.ops.values())


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_basic_problems_reject_every_fake(op):
    tally = Tally()
    for problem in basics(op):
        values = materialise(op, problem)
        tally.try_fakes(op, problem, values, compute_reference(op, problem, values))
    assert tally.survivors == []
    assert tally.score == 1
    assert len(tally.wrong) >= 10 * len(op.outputs)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_right_outputs_are_accepted_and_fakes_have_all_outputs(op):
    problem = next(iter(basics(op)))
    values = materialise(op, problem)
    reference = compute_reference(op, problem, values)
    right = {n: e.value for n, e in reference.outputs.items()}
    assert not reference.judge({n: e.rounded for n, e in reference.outputs.items()}).message
    for name, make in fakes_of(op, problem, values, right):
        assert set(make()) == set(op.outputs), name


def test_empty_problem_rejects_nothing():
    op = TABLE.op("softmax")
    problem = Problem(op.name, {"N": 0, "C": 3})
    values = materialise(op, problem)
    tally = Tally()
    assert not tally.try_fakes(op, problem, values, compute_reference(op, problem, values))
    assert tally.score == 0


def test_loose_tolerance_lowers_the_score():
    op = TABLE.op("softmax")
    tally = Tally()
    for problem in itertools.islice(basics(op), 3):
        values = materialise(op, problem)
        reference = compute_reference(op, problem, values)
        reference.outputs["y"].tolerance[...] = 0.1
        tally.try_fakes(op, problem, values, reference)
    assert {"y: bfloat16 output", "float16 inside", "y: scale"} <= set(tally.survivors)
    assert tally.score < 1


def test_fakes_ignore_every_input_and_parameter():
    op = TABLE.op("layer_norm_backward")
    problem = Problem(op.name, {"N": 4, "C": 9}, {"accumulate": True})
    values = materialise(op, problem)
    right = {n: np.zeros(1) for n in op.outputs}
    names = {name for name, _ in fakes_of(op, problem, values, right)}
    assert {f"ignores {n}" for n in values} <= names
    assert "ignores parameter accumulate" in names
