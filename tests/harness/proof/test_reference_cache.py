"""Reference outputs that several proofs share, computed while variants are called."""

import dataclasses
import threading
from concurrent.futures import CancelledError

import pytest

from harness.proof.cases.strategies import basics
from harness.proof.reference.cache import ReferenceCache
from harness.proof.reference.tolerance import compute_reference
from registry.table import discover

OP = discover().op("layer_norm")


class Recorder:
    """Computes reference outputs, and records the problems."""

    def __init__(self):
        self.computed = []

    def compute_reference(self, op, problem, values):
        """Compute the outputs of one problem."""
        self.computed.append(problem)
        return compute_reference(op, problem, values)


def problems(count):
    """Return problems that differ in their seed."""
    return [dataclasses.replace(next(basics(OP)), seed=seed) for seed in range(0, 2 * count, 2)]


def test_outputs_of_each_problem_are_computed_once():
    asked, recorder = problems(4), Recorder()
    with ReferenceCache([recorder.compute_reference]) as reference_cache:
        cases = [reference_cache.of(OP, problem) for problem in asked]
        kinds = [*cases, *map(reference_cache.redrawn, cases), *map(reference_cache.changed, cases)]
        references = [answer.reference for answer in kinds]
        assert [reference_cache.of(OP, problem).reference for problem in asked] == references[:4]
    assert [a.problem for a in cases] == asked
    assert len(recorder.computed) == len(kinds)


def test_the_newest_request_is_computed_next():
    begun, go_on, recorder = threading.Event(), threading.Event(), Recorder()

    def wait_and_compute(*asked):
        begun.set()
        assert go_on.wait(60)
        return recorder.compute_reference(*asked)

    first, *others = problems(4)
    with ReferenceCache([wait_and_compute]) as reference_cache:
        reference_cache.of(OP, first)
        assert begun.wait(60)
        waiting = [reference_cache.of(OP, problem) for problem in others]
        go_on.set()
        assert all(answer.reference for answer in waiting)
    assert recorder.computed == [first, *reversed(others)]


def test_waiting_requests_are_cancelled_when_the_cache_is_closed():
    before, recorder = set(threading.enumerate()), Recorder()
    with ReferenceCache([recorder.compute_reference]) as reference_cache:
        (thread,) = set(threading.enumerate()) - before
        asked = [reference_cache.of(OP, problem) for problem in problems(200)]
    thread.join(60)
    assert not thread.is_alive()
    assert len(recorder.computed) < 200
    assert all(answer.pending.done() for answer in asked)
    with pytest.raises(CancelledError):
        _ = reference_cache.of(OP, problems(201)[-1]).reference


def test_an_error_is_raised_where_the_outputs_are_read_and_a_later_request_computes_again():
    wrong, recorder = threading.Event(), Recorder()
    wrong.set()

    def fail_or_compute(*asked):
        if wrong.is_set():
            raise ArithmeticError(str(asked[1]))
        return recorder.compute_reference(*asked)

    (problem,) = problems(1)
    with ReferenceCache([fail_or_compute]) as reference_cache:
        with pytest.raises(ArithmeticError):
            assert reference_cache.of(OP, problem).reference
        wrong.clear()
        tries = (reference_cache.of(OP, problem).pending for _ in range(100_000))  # the failed entry is dropped a moment later
        assert any(pending.exception() is None for pending in tries)
        assert recorder.computed


def test_outputs_of_several_problems_are_computed_at_the_same_time():
    both = threading.Barrier(2)

    def meet_and_compute(*asked):
        both.wait(60)
        return compute_reference(*asked)

    with ReferenceCache([meet_and_compute, meet_and_compute]) as reference_cache:
        waiting = [reference_cache.of(OP, problem) for problem in problems(2)]
        assert all(answer.reference for answer in waiting)
