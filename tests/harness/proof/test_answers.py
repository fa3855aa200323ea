"""Answer keys that are shared, and made ahead of the calls that they are for."""

import dataclasses
import threading
from concurrent.futures import CancelledError

import pytest

from harness.proof.cases.strategies import basics
from harness.proof.reference.cache import Answers
from harness.proof.reference.tolerance import refer
from registry.table import discover

OP = discover().op("layer_norm")


class Maker:
    """Makes answer keys, and notes of which problems."""

    def __init__(self):
        self.made = []

    def refer(self, op, problem, values):
        """Make one."""
        self.made.append(problem)
        return refer(op, problem, values)


def problems(count):
    """Return different problems."""
    return [dataclasses.replace(next(basics(OP)), seed=seed) for seed in range(0, 2 * count, 2)]


def test_each_key_is_made_once_whoever_asks_first():
    asked, make = problems(4), Maker()
    with Answers([make.refer]) as answers:
        found = [answers.of(OP, problem) for problem in asked]
        kinds = [*found, *map(answers.redrawn, found), *map(answers.changed, found)]
        references = [answer.reference for answer in kinds]
        assert [answers.of(OP, problem).reference for problem in asked] == references[:4]
    assert [a.problem for a in found] == asked
    assert len(make.made) == len(kinds)


def test_the_key_asked_for_last_is_made_next():
    begun, go_on, make = threading.Event(), threading.Event(), Maker()

    def wait_and_make(*asked):
        begun.set()
        assert go_on.wait(60)
        return make.refer(*asked)

    first, *others = problems(4)
    with Answers([wait_and_make]) as answers:
        answers.of(OP, first)
        assert begun.wait(60)
        waiting = [answers.of(OP, problem) for problem in others]
        go_on.set()
        assert all(answer.reference for answer in waiting)
    assert make.made == [first, *reversed(others)]


def test_no_more_keys_are_made_once_nobody_asks_any_more():
    before, make = set(threading.enumerate()), Maker()
    with Answers([make.refer]) as answers:
        (maker,) = set(threading.enumerate()) - before
        asked = [answers.of(OP, problem) for problem in problems(200)]
    maker.join(60)
    assert not maker.is_alive()
    assert len(make.made) < 200
    assert all(answer.pending.done() for answer in asked)
    with pytest.raises(CancelledError):
        _ = answers.of(OP, problems(201)[-1]).reference


def test_what_goes_wrong_is_told_where_the_key_is_asked_for_and_tried_again():
    wrong, make = threading.Event(), Maker()
    wrong.set()

    def fail_or_make(*asked):
        if wrong.is_set():
            raise ArithmeticError(str(asked[1]))
        return make.refer(*asked)

    (problem,) = problems(1)
    with Answers([fail_or_make]) as answers:
        with pytest.raises(ArithmeticError):
            assert answers.of(OP, problem).reference
        wrong.clear()
        tries = (answers.of(OP, problem).pending for _ in range(100_000))  # the maker drops it a moment after it told
        assert any(pending.exception() is None for pending in tries)
        assert make.made


def test_makers_work_at_the_same_time():
    both = threading.Barrier(2)

    def meet_and_make(*asked):
        both.wait(60)
        return refer(*asked)

    with Answers([meet_and_make, meet_and_make]) as answers:
        waiting = [answers.of(OP, problem) for problem in problems(2)]
        assert all(answer.reference for answer in waiting)
