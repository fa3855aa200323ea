"""Runs the checks on one variant: calls it on many problems, compares its outputs while later calls run, shrinks a failure."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from harness.proof.cases.selection import ExtraChecks, TestCase, refusals, run_hypothesis
from harness.proof.cases.strategies import elements
from harness.proof.gates import CHECKS, Case, Rejected, check_call, check_repeats, check_values
from harness.proof.sandbox.buffers import STALE
from registry.devices import kind_of
from registry.enums import Device, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.proof.gates import Arrays, Call, Check
    from harness.proof.plan import Plan
    from harness.proof.reference.cache import ReferenceCache
    from harness.proof.result import Proof
    from harness.proof.sandbox.client import Worker
    from registry.problem import Problem

__all__ = ["Runner", "ShrunkEnough"]

LARGEST_BATCH = 1 << 22  # elements: the sum, over the problems of a batch, of the size of the largest argument


class ShrunkEnough(BaseException):
    """Stops hypothesis once a smaller failure is not worth the time."""


@dataclass
class _PendingCase:
    """A test case on which the variant was called; the outputs are not compared yet.

    Attributes
    ----------
    outputs : dict of str to array
        The outputs of the first call.
    calls : list of (Check, list of calls)
        The checks of the test case, and the calls that each made.
    rejected : Rejected, optional
        The failure of a call.
    """

    case: Case
    extra_checks: ExtraChecks
    outputs: Arrays = field(default_factory=dict)
    calls: list[tuple[Check, list[Call]]] = field(default_factory=list)
    rejected: Rejected | None = None

    def call(self) -> None:
        """Make all calls of the test case."""
        self.outputs = check_call(self.case)
        checks = (check for check in CHECKS if check.applies(self.case, self.extra_checks))
        self.calls = [(check, check.call(self.case)) for check in checks]


def _repeat_for_state(pending: _PendingCase, calls: int, stop: Event) -> None:
    """Repeat a call as often as the other workers call, so that one process sees the calls of all workers.

    A variant that changes its outputs after many calls is then found with any number of workers.
    """
    outputs = check_call(pending.case)
    for _ in range(calls):
        if stop.is_set():
            break
        check_repeats(pending.case, outputs, check_call(pending.case.after(STALE)))


class Runner:
    """Calls one variant on test cases and runs the checks on its outputs.

    Parameters
    ----------
    proof : Proof
        The runner updates its counts.
    workers : sequence of Worker
        The test cases are distributed over all workers, which call the variant at the same time.
    plan : Plan
    reference_cache : ReferenceCache
        The source of the reference outputs.

    Attributes
    ----------
    smallest : Rejected or None
        The failure with the smallest problem.
    refusal : str
        The reason for which the variant refused a problem, the first of all reasons.
    """

    def __init__(self, proof: Proof, workers: Sequence[Worker], plan: Plan, reference_cache: ReferenceCache) -> None:
        self.proof, self.variant = proof, proof.variant
        self.workers, self.plan, self.reference_cache = workers, plan, reference_cache
        self.device = kind_of(self.variant, gpu=plan.gpu)
        self.smallest: Rejected | None = None
        self.refusal = ""
        self._extra_checks = ExtraChecks()  # of the test case with the smallest failure
        self._passed: set[str] = set()
        self._give_up_at = float("inf")
        self._begun: set[Worker] = set()

    def run(self, test_cases: Iterable[TestCase]) -> None:
        """Run the checks on test cases until one fails.

        The variant is called on a batch of problems while other processes compute the reference outputs. The outputs are
        compared afterwards, so that no call waits for reference outputs.

        Raises
        ------
        Rejected
            A check failed.
        ShrunkEnough
            The variant hung, or the time for shrinking is over.
        """
        batch: list[TestCase] = []
        room = LARGEST_BATCH
        for test_case in test_cases:
            if not self._refuses(test_case.problem):
                batch.append(test_case)
                room -= elements(self.variant.op, test_case.problem)
            if room < 0:
                self._run_batch(batch)
                batch, room = [], LARGEST_BATCH
        self._run_batch(batch)

    def _run_batch(self, batch: list[TestCase]) -> None:
        if batch and time.monotonic() > self._give_up_at:
            raise ShrunkEnough
        workers = self.workers[: len(batch)]
        shares = [batch[number :: len(workers)] for number in range(len(workers))]
        stop = Event()
        if len(workers) > 1:
            with ThreadPoolExecutor(len(workers)) as pool:
                try:
                    done = list(pool.map(partial(self._call, stop=stop, others=len(workers) - 1), workers, shares))
                finally:
                    stop.set()
        else:
            done = [self._call(worker, share, stop) for worker, share in zip(workers, shares, strict=True)]
        pending = [one for group in itertools.zip_longest(*done) for one in group if one]  # in the order of the batch
        for one in pending:
            if one.rejected:
                self._keep_smallest(one.rejected, one.extra_checks)
        for one in pending:
            if one.rejected:
                raise one.rejected
        for one in pending:
            self._compare(one)

    def _call(self, worker: Worker, share: list[TestCase], stop: Event, others: int = 0) -> list[_PendingCase]:
        """Call the variant on one problem after the other, until a check fails in this worker or in one of the `others`."""
        first = worker is self.workers[0]
        if worker not in self._begun:
            self._begun.add(worker)
            worker.begin(self.variant, self.device, ahead=not first)
        before = worker.calls
        pending: list[_PendingCase] = []
        try:
            for problem, extra_checks in share:
                if stop.is_set():
                    return pending
                solved = self.reference_cache.of(self.variant.op, problem)
                case = Case(self.variant, solved, self.reference_cache, worker, self.plan.threads, self.device)
                current = _PendingCase(case, extra_checks)
                pending.append(current)
                current.call()
            plain = [one for one in pending if all(one.case.problem.dims.values()) and not one.case.problem.special_values]
            if first and others and plain:
                current = min(plain, key=lambda one: elements(self.variant.op, one.case.problem))
                _repeat_for_state(current, others * (worker.calls - before), stop)
        except Rejected as rejected:
            current.rejected = rejected
            stop.set()
        except BaseException:
            stop.set()
            raise
        return pending

    def _compare(self, pending: _PendingCase) -> None:
        """Compare the outputs of the calls on a test case."""
        case, outputs = pending.case, pending.outputs
        try:
            self.proof.worst_over_tolerance = max(self.proof.worst_over_tolerance, check_values(case, outputs))
            for check, calls in pending.calls:
                check.judge(case, outputs, calls)
        except Rejected as rejected:
            self._keep_smallest(rejected, pending.extra_checks)
            raise
        problem, solved = case.problem, case.solved
        self._passed.add(str(problem))
        if self.smallest is None:
            if self.proof.tally.try_fakes(self.variant.op, problem, solved.values, solved.reference):
                self.proof.problems += 1
            else:
                self.proof.vacuous += 1

    def _keep_smallest(self, rejected: Rejected, extra_checks: ExtraChecks) -> None:
        op, known = self.variant.op, self.smallest
        if known is None or elements(op, rejected.problem) <= elements(op, known.problem):
            self.smallest, self._extra_checks = rejected, extra_checks
        if rejected.status == Status.HUNG:
            raise ShrunkEnough

    def _refuses(self, problem: Problem) -> bool:
        """Return whether the variant refuses a problem; count the refusal and keep the first reason."""
        reasons = refusals(self.variant, problem)
        if reasons:
            self.proof.refused += 1
            self.refusal = self.refusal or reasons[0]
        return bool(reasons)

    def shrink(self) -> None:
        """Let hypothesis draw the same problems again, run the checks on each, and shrink the one that fails.

        Where a fixed case failed, a random case may show the same failure on a smaller problem.
        """
        seconds, extra_checks = self.plan.profile_settings.shrink_seconds, self._extra_checks
        self._give_up_at = time.monotonic() + seconds
        failed = False

        def check(problem: Problem) -> None:
            nonlocal failed
            if str(problem) in self._passed:
                return
            try:
                self.run([TestCase(problem, extra_checks)])
            except Rejected:
                if not failed:  # hypothesis has found the failure: the time for shrinking starts now
                    failed, self._give_up_at = True, time.monotonic() + seconds
                raise

        if seconds:
            run_hypothesis(self.variant, self.plan, check, simulated=self.device == Device.SIM)
