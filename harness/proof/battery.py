"""The battery: collect the test cases of a variant, run the checks, shrink a failure, and write the line that reproduces it."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import hypothesis

from harness.proof.cases.selection import TestCase, fixed_cases, random_cases, refusals
from harness.proof.gates import Rejected, check_in_fresh_process
from harness.proof.result import Proof
from harness.proof.runner import Runner, ShrunkEnough
from registry.enums import Device, Status
from registry.fingerprint import contract_hash, source_hash
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.proof.plan import Plan
    from harness.proof.reference.cache import ReferenceCache
    from harness.proof.sandbox.client import Worker
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["prove", "prove_on"]


def _concluded(runner: Runner, began: float, *, whole: bool) -> Proof:
    """Return the proof with its status; only a `whole` proof can be ``partial``, a proof on a single problem cannot."""
    proof, plan = runner.proof, runner.plan
    rejected = None if runner.smallest is None else check_in_fresh_process(runner.smallest)
    proof.reproduce = plan.reproduce(proof.variant)
    if rejected is not None:
        proof.status, proof.gate, proof.message = rejected.status, rejected.gate, rejected.message
        proof.problem = rejected.problem
        proof.worst_over_tolerance = max(proof.worst_over_tolerance, rejected.ratio)
        proof.reproduce = plan.reproduce(proof.variant, rejected.problem)
    elif proof.refused and not proof.problems + proof.vacuous:
        proof.status = Status.REFUSED
        proof.message = f"the variant refuses all {proof.refused} problems: {runner.refusal}"
    elif not proof.problems:
        proof.status, proof.gate = Status.FAILED, "non-vacuity"
        proof.message = f"none of {proof.vacuous} problems can tell the variant from a fake kernel"
    elif whole and (short := _shortage(proof, plan)):
        proof.status, proof.message = Status.PARTIAL, short
        if runner.refusal:
            proof.message += f"; the variant refuses {proof.refused} problems, the first because: {runner.refusal}"
    _check_sources(runner)
    proof.seconds = time.monotonic() - began
    return proof


def _shortage(proof: Proof, plan: Plan) -> str:
    """Return how many problems the proof lacks by its profile, as a message; "" if it has enough."""
    profile = plan.profile_settings
    if proof.problems < profile.fewest_problems:
        return f"the variant passed {proof.problems} problems; a proof needs {profile.fewest_problems} (profile {plan.profile})"
    if proof.drawn < profile.fewest_drawn:
        return f"the number of random problems is {proof.drawn}; a proof needs {profile.fewest_drawn} (profile {plan.profile})"
    return ""


def _check_sources(runner: Runner) -> None:
    """Store the hashes of the proven sources; void the proof if a source has changed since before the first import."""
    proof, plan = runner.proof, runner.plan
    variant = proof.variant
    with suppress(OSError, SyntaxError, UnicodeDecodeError):  # a file that cannot be read counts as changed
        proof.source, proof.contract = source_hash(variant), contract_hash(variant.op)
    snapshots = {id(s): s for s in (plan.sources, *(w.sources for w in runner.workers)) if s is not None}
    changed = sorted({path for snapshot in snapshots.values() for path in snapshot.changed(variant)})
    if changed:
        names = ", ".join(str(p.relative_to(ROOT) if p.is_relative_to(ROOT) else p) for p in changed)
        proof.status, proof.gate = Status.SOURCE_CHANGED, "sources"
        proof.message = f"source changed while it was proven: {names}; the proof holds for neither the old nor the new source"
        proof.problem, proof.reproduce = None, plan.reproduce(variant)


def _request_last(variant: Variant, test_cases: Sequence[TestCase], reference_cache: ReferenceCache) -> None:
    """Request the reference outputs of the last accepted problem, so that torch is imported while the worker starts."""
    accepted = (problem for problem, _ in reversed(test_cases) if not refusals(variant, problem))
    for problem in itertools.islice(accepted, 1):
        reference_cache.of(variant.op, problem)


def prove(
    variant: Variant,
    worker: Worker,
    plan: Plan,
    reference_cache: ReferenceCache,
    *,
    helpers: Sequence[Worker] = (),
    recheck: Sequence[Problem] = (),
) -> Proof:
    """Put a variant through the battery.

    Parameters
    ----------
    variant : Variant
    worker : Worker
        The battery restarts it after the variant has ended its process.
    plan : Plan
    reference_cache : ReferenceCache
        Shared with the proofs of other variants of the op, so that reference outputs are computed once.
    helpers : sequence of Worker
        More workers, which share the problems.
    recheck : sequence of Problem
        Problems on which the variant failed earlier. They come first and get every check.

    Returns
    -------
    Proof
        A failure of the variant is reported here, never raised.
    """
    began = time.monotonic()
    runner = Runner(Proof(variant), (worker, *helpers), plan, reference_cache)
    simulated = runner.device == Device.SIM
    test_cases = [*map(TestCase, recheck), *fixed_cases(variant, simulated=simulated)]
    _request_last(variant, test_cases, reference_cache)
    drawn = random_cases(variant, plan, worker.check, simulated=simulated)
    runner.proof.drawn = sum(not refusals(variant, one.problem) for one in drawn)
    runner.proof.recheck = tuple(problem for problem in recheck if not refusals(variant, problem))
    test_cases += drawn
    _request_last(variant, test_cases, reference_cache)
    with suppress(Rejected, ShrunkEnough, hypothesis.errors.Flaky):  # the runner keeps the smallest failure
        try:
            runner.run(test_cases)
        except Rejected:
            runner.shrink()
    return _concluded(runner, began, whole=True)


def prove_on(variant: Variant, worker: Worker, plan: Plan, problem: Problem, reference_cache: ReferenceCache) -> Proof:
    """Run every check on one problem; otherwise as `prove`."""
    began = time.monotonic()
    runner = Runner(Proof(variant), (worker,), plan, reference_cache)
    with suppress(Rejected, ShrunkEnough):
        runner.run([TestCase(problem)])
    return _concluded(runner, began, whole=False)
