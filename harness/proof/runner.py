"""Examines one variant: calls it on many problems, compares its outputs while later calls run, and shrinks a failure."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from harness.proof.cases.selection import Asked, Dear, draw, refusals
from harness.proof.cases.strategies import elements
from harness.proof.gates import (
    Case,
    Rejected,
    check_accumulates,
    check_call,
    check_contents,
    check_one_thread,
    check_order,
    check_remembers_nothing,
    check_repeats,
    check_values,
)
from harness.proof.sandbox.buffers import FINITE, STALE
from registry.devices import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.proof.plan import Plan
    from harness.proof.reference.cache import Answers
    from harness.proof.result import Proof
    from harness.proof.sandbox.client import Worker
    from registry.problem import Problem

__all__ = ["Examination", "ShrunkEnough"]

MOST_HELD = 1 << 22  # elements of the largest arguments of problems that were called on and not yet compared


class ShrunkEnough(BaseException):
    """Stops hypothesis where a smaller failure is not worth its time."""


@dataclass
class _Called:
    """A problem that the variant was called on: what is left of its gates, or what it failed at already."""

    case: Case
    dear: Dear
    gates: Iterator[None]
    rejected: Rejected | None = None
    counts: bool = True


class Examination:
    """What one variant is put through.

    Parameters
    ----------
    proof : Proof
        Its counts are kept here.
    workers : sequence of Worker
        In which the variant is called, in all at the same time, each with its share of the problems.

    Attributes
    ----------
    smallest : Rejected or None
        Of all failures the one with the smallest problem.
    """

    def __init__(self, proof: Proof, workers: Sequence[Worker], plan: Plan, answers: Answers) -> None:
        self.proof, self.variant = proof, proof.variant
        self.workers, self.plan, self.answers = workers, plan, answers
        self.device = kind_of(self.variant, gpu=plan.gpu)
        self.smallest: Rejected | None = None
        self.refusal = ""
        self._dear = Dear()  # the gates that it was found at
        self._passed: set[str] = set()
        self._give_up_at = float("inf")
        self._begun: set[Worker] = set()

    def examine(self, asked: Iterable[Asked]) -> None:
        """Put the variant through the gates on problems, until one fails.

        It is called on many while their answer keys are made, and what it gave is compared behind that: who calls waits for
        no key.

        Raises
        ------
        Rejected
            A problem failed.
        ShrunkEnough
            It hung, or time is up.
        """
        held: list[Asked] = []
        room = MOST_HELD
        for one in asked:
            if not self._refuses(one.problem):
                held.append(one)
                room -= elements(self.variant.op, one.problem)
            if room < 0:
                self._examine(held)
                held, room = [], MOST_HELD
        self._examine(held)

    def _examine(self, asked: list[Asked]) -> None:
        if asked and time.monotonic() > self._give_up_at:
            raise ShrunkEnough
        workers = self.workers[: len(asked)]
        shares = [asked[number :: len(workers)] for number in range(len(workers))]
        stop = Event()
        if len(workers) > 1:
            with ThreadPoolExecutor(len(workers)) as pool:
                try:
                    done = list(pool.map(partial(self._call, stop=stop, others=len(workers) - 1), workers, shares))
                finally:
                    stop.set()
        else:
            done = [self._call(worker, share, stop) for worker, share in zip(workers, shares, strict=True)]
        called = [one for among in itertools.zip_longest(*done) for one in among if one]  # as they were asked
        for one in called:
            if one.rejected:
                self._remember(one.rejected, one.dear)
        for one in called:
            if one.rejected:
                raise one.rejected
        for one in called:
            self._compare(one)

    def _call(self, worker: Worker, asked: list[Asked], stop: Event, others: int = 0) -> list[_Called]:
        """Call on one problem after the other, until one fails, here or in one of the `others`."""
        first = worker is self.workers[0]
        if worker not in self._begun:
            self._begun.add(worker)
            worker.begin(self.variant, self.device, ahead=not first)
        before = worker.calls
        called: list[_Called] = []
        try:
            for problem, dear in asked:
                if stop.is_set():
                    return called
                answer = self.answers.of(self.variant.op, problem)
                case = Case(self.variant, answer, self.answers, worker, self.plan.threads, self.device)
                called.append(_Called(case, dear, self._gates(case, dear)))
                next(called[-1].gates)
            telling = [one for one in called if all(one.case.problem.dims.values()) and not one.case.problem.special_values]
            if first and others and telling:
                smallest = min(telling, key=lambda one: elements(self.variant.op, one.case.problem))
                gates = self._go_on(smallest.case, others * (worker.calls - before), stop)
                called.append(_Called(smallest.case, smallest.dear, gates, counts=False))
                next(gates)
        except Rejected as rejected:
            called[-1].rejected = rejected
            stop.set()
        except BaseException:
            stop.set()
            raise
        return called

    def _go_on(self, case: Case, calls: int, stop: Event) -> Iterator[None]:
        """Call as often as the other workers do: what a variant does only after many calls shows as if there were no others."""
        outputs = check_call(case)
        for _ in range(calls):
            if stop.is_set():
                break
            check_repeats(case, outputs, check_call(case.after(STALE)))
        yield

    def _gates(self, case: Case, dear: Dear) -> Iterator[None]:
        """Put the variant through the gates on one problem; yields when it has been called, before anything is compared."""
        before = (FINITE, STALE)[case.problem.seed % 2]
        outputs = check_call(case)
        again = check_call(case.after(before), order=case.problem.seed)
        simulated = dear.checked and self.device == "sim"
        found = check_call(case, mode="checked", order="descending") if simulated else None
        more = [check_one_thread(case)] if dear.more_calls else []
        if dear.replay:
            more.append(check_remembers_nothing(case, outputs))
        for gate in more:
            next(gate, None)
        yield
        self.proof.worst_over_budget = max(self.proof.worst_over_budget, check_values(case, outputs))
        check_contents(case.after(before), outputs, again)
        if found is not None:
            check_order(case, outputs, found)
        for gate in more:
            next(gate, None)
        if dear.more_calls:
            check_accumulates(case)

    def _compare(self, called: _Called) -> None:
        """Put what was called through the rest of its gates."""
        try:
            for _ in called.gates:
                pass
        except Rejected as rejected:
            self._remember(rejected, called.dear)
            raise
        problem, answer = called.case.problem, called.case.answer
        self._passed.add(str(problem))
        if self.smallest is None and called.counts:
            if self.proof.tally.ask(self.variant.op, problem, answer.values, answer.reference):
                self.proof.problems += 1
            else:
                self.proof.vacuous += 1

    def _remember(self, rejected: Rejected, dear: Dear) -> None:
        op, known = self.variant.op, self.smallest
        if known is None or elements(op, rejected.problem) <= elements(op, known.problem):
            self.smallest, self._dear = rejected, dear
        if rejected.status == "hung":
            raise ShrunkEnough

    def _refuses(self, problem: Problem) -> bool:
        """Take down that the variant refuses a problem, and why."""
        reasons = refusals(self.variant, problem)
        if reasons:
            self.proof.refused += 1
            self.refusal = self.refusal or reasons[0]
        return bool(reasons)

    def shrink(self) -> None:
        """Let hypothesis draw the same again, now with the failure before it, and make it smaller.

        Where a given problem failed, what is drawn may show the same on a smaller one.
        """
        seconds, dear = self.plan.limits.shrink_seconds, self._dear
        self._give_up_at = time.monotonic() + seconds
        again = False

        def examine(problem: Problem) -> None:
            nonlocal again
            if str(problem) in self._passed:
                return
            try:
                self.examine([Asked(problem, dear)])
            except Rejected:
                if not again:  # it is drawn, so the time to make it smaller begins
                    again, self._give_up_at = True, time.monotonic() + seconds
                raise

        if seconds:
            draw(self.variant, self.plan, examine, simulated=self.device == "sim")
