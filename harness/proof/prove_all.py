"""Prove many variants: as many at a time as there are cores, each in a worker process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

from harness.proof.battery import prove, prove_on
from harness.proof.reference.cache import ReferenceCache
from harness.proof.reference.process import ReferenceProcess, cache_folder
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

MOST_REFERENCE_PROCESSES = 4  # each imports torch
GPU_WORKERS = 4  # each has a CUDA context, some hundred megabytes of the GPU's memory


def _most_workers(plan: Plan) -> int:
    return min(thread_count(), GPU_WORKERS) if plan.gpu else thread_count()


def prove_all(
    variants: list[Variant],
    plan: Plan,
    report: Callable[[Proof], None],
    problem: Problem | None = None,
    started: Sequence[Worker] = (),
    store: Store | None = None,
) -> list[Proof]:
    """Prove variants, as many at a time as there are cores, each in a worker process of its own.

    Parameters
    ----------
    variants : list of Variant
    plan : Plan
    report : callable
        Called with each proof as soon as it is finished.
    problem : Problem, optional
        The only problem to check; by default the whole battery runs.
    started : sequence of Worker
        Workers that have been started already; they are used first. If there are more workers than variants, several workers
        share the problems of one variant.
    store : Store, optional
        Its recorded failures are checked again.

    Returns
    -------
    list of Proof
        In the order of `variants`.
    """
    at_a_time = min(len(variants), _most_workers(plan))
    recheck = _failed_before(variants, plan, store) if store else {}
    workers: list[Worker] = [*started]
    workers += [Worker(plan.kernels_path, sources=plan.sources) for _ in range(at_a_time - len(started))]
    references = [ReferenceProcess(cache_folder(gpu=plan.gpu)) for _ in range(min(at_a_time, MOST_REFERENCE_PROCESSES))]
    groups: SimpleQueue[list[Worker]] = SimpleQueue()
    for number in range(at_a_time):
        groups.put(workers[number::at_a_time])

    def one(variant: Variant) -> Proof:
        worker, *helpers = group = groups.get()
        try:
            if problem:
                proof = prove_on(variant, worker, plan, problem, cache)
            else:
                proof = prove(variant, worker, plan, cache, helpers=helpers, recheck=recheck.get(str(variant), ()))
        finally:
            groups.put(group)
        report(proof)
        return proof

    pool = ThreadPoolExecutor(max(at_a_time, 1))
    try:
        with ReferenceCache([process.compute_reference for process in references]) as cache:  # its end cancels all requests
            return list(pool.map(one, variants))
    finally:
        for end in (*(w.stop for w in workers), *(r.stop for r in references)):
            end()
        pool.shutdown(cancel_futures=True)
        for end in (*(w.close for w in workers), *(r.close for r in references)):
            end()


def _failed_before(variants: Sequence[Variant], plan: Plan, store: Store) -> dict[str, list[Problem]]:
    """Return, per variant, the problems of its recorded failures that still count."""
    problems = {}
    for device in {kind_of(v, gpu=plan.gpu) for v in variants}:
        there = [v for v in variants if kind_of(v, gpu=plan.gpu) == device]
        for variant, failures in zip(there, store.failures(there, device), strict=True):
            lines = dict.fromkeys(failure.failed_problem(variant.op) for failure in failures)
            problems[str(variant)] = [parse_problem(variant.op, line) for line in lines if line]
    return problems
