"""Prove many variants: as many at a time as there are cores, each in a worker process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

from harness.proof.battery import prove, prove_on
from harness.proof.reference.cache import Answers
from harness.proof.reference.process import AnswerProcess, kept_folder
from harness.proof.sandbox.client import Worker
from registry.devices import kind_of
from registry.machine import thread_count
from registry.problem import parse_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.proof.plan import Plan
    from harness.proof.result import Proof
    from registry.problem import Problem
    from registry.records import Store
    from registry.variant import Variant

__all__ = ["prove_all"]

MOST_MAKERS = 4  # of answer keys: each is a process with torch in it
GPU_WORKERS = 4  # each has a context of its own, some hundred megabytes of the GPU's memory


def _most_workers(plan: Plan) -> int:
    return min(thread_count(), GPU_WORKERS) if plan.gpu else thread_count()


def prove_all(
    variants: list[Variant],
    plan: Plan,
    told: Callable[[Proof], None],
    problem: Problem | None = None,
    started: Sequence[Worker] = (),
    store: Store | None = None,
) -> list[Proof]:
    """Prove variants, as many at a time as there are cores, each in a worker process of its own.

    `told` is called with each proof as soon as it is there; the result is in the order of `variants`. With a `problem`,
    that one alone is examined. Workers that were `started` before are used first; where there are more of them than
    variants, they share the problems of one. What a variant failed at by the `store`, it is asked again.
    """
    at_a_time = min(len(variants), _most_workers(plan))
    recheck = _failed_before(variants, plan, store) if store else {}
    made: list[Worker] = [*started]
    made += [Worker(plan.kernels_path, sources=plan.sources) for _ in range(at_a_time - len(started))]
    makers = [AnswerProcess(kept_folder(gpu=plan.gpu)) for _ in range(min(at_a_time, MOST_MAKERS))]
    groups: SimpleQueue[list[Worker]] = SimpleQueue()
    for number in range(at_a_time):
        groups.put(made[number::at_a_time])

    def one(variant: Variant) -> Proof:
        worker, *helpers = group = groups.get()
        try:
            if problem:
                proof = prove_on(variant, worker, plan, problem, answers)
            else:
                proof = prove(variant, worker, plan, answers, helpers=helpers, recheck=recheck.get(str(variant), ()))
        finally:
            groups.put(group)
        told(proof)
        return proof

    pool = ThreadPoolExecutor(max(at_a_time, 1))
    try:
        with Answers([m.refer for m in makers]) as answers:  # whose end is told to those who wait for one
            return list(pool.map(one, variants))
    finally:
        for end in (*(w.stop for w in made), *(m.stop for m in makers)):
            end()
        pool.shutdown(cancel_futures=True)
        for end in (*(w.close for w in made), *(m.close for m in makers)):
            end()


def _failed_before(variants: Sequence[Variant], plan: Plan, store: Store) -> dict[str, list[Problem]]:
    """Return, per variant, the problems of the failures that stand against it."""
    found = {}
    for place in {kind_of(v, gpu=plan.gpu) for v in variants}:
        there = [v for v in variants if kind_of(v, gpu=plan.gpu) == place]
        for variant, failures in zip(there, store.failures(there, place), strict=True):
            lines = dict.fromkeys(failure.failed_problem(variant.op) for failure in failures)
            found[str(variant)] = [parse_problem(variant.op, line) for line in lines if line]
    return found
