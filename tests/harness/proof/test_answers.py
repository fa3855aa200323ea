"""Answer keys that are shared, and made ahead of the calls that they are for."""

import dataclasses
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from harness.proof import answers as module
from harness.proof.answers import Answers
from harness.proof.strategies import basics
from registry.table import discover

OP = discover().op("layer_norm")


@pytest.fixture
def counted(monkeypatch):
    """Count the answer keys that are made."""
    made = []
    honest = module.refer

    def refer(op, problem, values):
        made.append(problem)
        return honest(op, problem, values)

    monkeypatch.setattr(module, "refer", refer)
    return made


def problems(count):
    """Return different problems."""
    return [dataclasses.replace(next(basics(OP)), seed=seed) for seed in range(0, 2 * count, 2)]


def test_each_key_is_made_once_whoever_asks_first(counted):
    asked = problems(4)
    with Answers() as answers:
        found = [answers.of(OP, problem) for problem in asked]
        kinds = [*found, *map(answers.redrawn, found), *map(answers.changed, found)]
        references = [answer.reference for answer in kinds]
        assert [answers.of(OP, problem).reference for problem in asked] == references[:4]
    assert [a.problem for a in found] == asked
    assert len(counted) == len(kinds)


def test_the_key_asked_for_last_is_made_next(monkeypatch, counted):
    begun, go_on = threading.Event(), threading.Event()
    honest = module.refer

    def refer(*asked):
        begun.set()
        assert go_on.wait(60)
        return honest(*asked)

    monkeypatch.setattr(module, "refer", refer)
    first, *others = problems(4)
    with Answers() as answers:
        answers.of(OP, first)
        assert begun.wait(60)
        waiting = [answers.of(OP, problem) for problem in others]
        go_on.set()
        assert all(answer.reference for answer in waiting)
    assert counted == [first, *reversed(others)]


def test_no_more_keys_are_made_once_nobody_asks_any_more(counted):
    before = set(threading.enumerate())
    with Answers() as answers:
        (maker,) = set(threading.enumerate()) - before
        asked = [answers.of(OP, problem) for problem in problems(200)]
    maker.join(60)
    assert not maker.is_alive()
    assert len(counted) < 200
    assert all(answer.pending.done() for answer in asked)
    with pytest.raises(CancelledError):
        _ = answers.of(OP, problems(201)[-1]).reference


def test_what_goes_wrong_is_told_where_the_key_is_asked_for_and_tried_again(monkeypatch, counted):
    honest = module.refer
    wrong = threading.Event()
    wrong.set()

    def refer(*asked):
        if wrong.is_set():
            raise ArithmeticError(str(asked[1]))
        return honest(*asked)

    monkeypatch.setattr(module, "refer", refer)
    (problem,) = problems(1)
    with Answers() as answers:
        with pytest.raises(ArithmeticError):
            assert answers.of(OP, problem).reference
        wrong.clear()
        tries = (answers.of(OP, problem).pending for _ in range(100_000))  # the maker drops it a moment after it told
        assert any(pending.exception() is None for pending in tries)
        assert counted


def test_the_process_is_left_as_it_was():
    outside = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.25)
        with Answers() as answers:
            assert answers.of(OP, problems(1)[0]).reference
            assert sys.getswitchinterval() < 0.25
        assert sys.getswitchinterval() == 0.25
    finally:
        sys.setswitchinterval(outside)
