"""Null kernels: the fuzzer's problems catch all of them, an empty problem none."""

import itertools

import numpy as np
import pytest

from harness.proof.cases.strategies import basics
from harness.proof.cases.values import materialise
from harness.proof.reference.fakes import Tally, nulls_of
from harness.proof.reference.tolerance import refer
from registry.problem import Problem
from registry.table import discover

TABLE = discover()
OPS = list(TABLE.ops.values())


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_basic_problems_catch_every_null(op):
    tally = Tally()
    for problem in basics(op):
        values = materialise(op, problem)
        tally.ask(op, problem, values, refer(op, problem, values))
    assert tally.survivors == []
    assert tally.score == 1
    assert len(tally.seen) >= 10 * len(op.outputs)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_right_answer_is_no_null(op):
    problem = next(iter(basics(op)))
    values = materialise(op, problem)
    reference = refer(op, problem, values)
    right = {n: e.value for n, e in reference.outputs.items()}
    assert not reference.judge({n: e.rounded for n, e in reference.outputs.items()}).message
    for name, make in nulls_of(op, problem, values, right):
        assert set(make()) == set(op.outputs), name


def test_empty_problem_catches_nothing():
    op = TABLE.op("softmax")
    problem = Problem(op.name, {"N": 0, "C": 3})
    values = materialise(op, problem)
    tally = Tally()
    assert not tally.ask(op, problem, values, refer(op, problem, values))
    assert tally.score == 0


def test_loose_budget_lowers_the_score():
    op = TABLE.op("softmax")
    tally = Tally()
    for problem in itertools.islice(basics(op), 3):
        values = materialise(op, problem)
        reference = refer(op, problem, values)
        reference.outputs["y"].budget[...] = 0.1
        tally.ask(op, problem, values, reference)
    assert {"y: bfloat16 output", "float16 inside", "y: scale"} <= set(tally.survivors)
    assert tally.score < 1


def test_nulls_name_every_input_and_parameter():
    op = TABLE.op("layer_norm_backward")
    problem = Problem(op.name, {"N": 4, "C": 9}, {"accumulate": True})
    values = materialise(op, problem)
    right = {n: np.zeros(1) for n in op.outputs}
    names = {name for name, _ in nulls_of(op, problem, values, right)}
    assert {f"ignores {n}" for n in values} <= names
    assert "ignores parameter accumulate" in names
