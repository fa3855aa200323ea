"""The battery: draw problems for a variant, put it through the gates, shrink what fails, and say how to see it again."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import hypothesis

from harness.proof.cases.selection import Asked, drawn, given, refusals
from harness.proof.gates import Rejected, check_again_afresh
from harness.proof.result import SOURCE_CHANGED, Proof
from harness.proof.runner import Examination, ShrunkEnough
from registry.fingerprint import contract_hash, source_hash
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.proof.plan import Plan
    from harness.proof.reference.cache import Answers
    from harness.proof.sandbox.client import Worker
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["prove", "prove_on"]


def _concluded(examination: Examination, began: float, *, whole: bool) -> Proof:
    """Return the proof with its status; one that is not `whole` was asked a single problem, and is never ``partial``."""
    proof, plan = examination.proof, examination.plan
    rejected = None if examination.smallest is None else check_again_afresh(examination.smallest)
    proof.reproduce = plan.reproduce(proof.variant)
    if rejected is not None:
        proof.status, proof.gate, proof.message = rejected.status, rejected.gate, rejected.message
        proof.problem = rejected.problem
        proof.worst_over_budget = max(proof.worst_over_budget, rejected.ratio)
        proof.reproduce = plan.reproduce(proof.variant, rejected.problem)
    elif proof.refused and not proof.problems + proof.vacuous:
        proof.status = "refused"
        proof.message = f"it supports none of {proof.refused} drawn problems: {examination.refusal}"
    elif not proof.problems:
        proof.status, proof.gate = "failed", "non-vacuity"
        proof.message = f"none of {proof.vacuous} drawn problems could tell it from a null kernel"
    elif whole and (short := _shortage(proof, plan)):
        proof.status, proof.message = "partial", short
        if examination.refusal:
            proof.message += f"; it refuses {proof.refused} problems, the first because: {examination.refusal}"
    _check_sources(examination)
    proof.seconds = time.monotonic() - began
    return proof


def _shortage(proof: Proof, plan: Plan) -> str:
    """Return how a proof falls short of what its profile asks for at least; "" if it does not."""
    limits = plan.limits
    if proof.problems < limits.fewest_problems:
        return f"it passed {proof.problems} problems, and fewer than {limits.fewest_problems} prove nothing ({plan.profile})"
    if proof.drawn < limits.fewest_drawn:
        return f"it was asked {proof.drawn} drawn problems, and fewer than {limits.fewest_drawn} prove nothing ({plan.profile})"
    return ""


def _check_sources(examination: Examination) -> None:
    """Keep the hashes of what was proven; void the proof if a source is not what it was before any process imported it."""
    proof, plan = examination.proof, examination.plan
    variant = proof.variant
    with suppress(OSError, SyntaxError, UnicodeDecodeError):  # such a file counts as changed
        proof.source, proof.contract = source_hash(variant), contract_hash(variant.op)
    snapshots = {id(s): s for s in (plan.sources, *(w.sources for w in examination.workers)) if s is not None}
    changed = sorted({path for snapshot in snapshots.values() for path in snapshot.changed(variant)})
    if changed:
        names = ", ".join(str(p.relative_to(ROOT) if p.is_relative_to(ROOT) else p) for p in changed)
        proof.status, proof.gate = SOURCE_CHANGED, "sources"
        proof.message = f"source changed while it was proven: {names}; nothing is known of it, before or after"
        proof.problem, proof.reproduce = None, plan.reproduce(variant)


def _ask_for_last(variant: Variant, asked: Sequence[Asked], answers: Answers) -> None:
    """Ask for one key: if it has to be made, torch is imported while others draw and start."""
    taken = (problem for problem, _ in reversed(asked) if not refusals(variant, problem))
    for problem in itertools.islice(taken, 1):
        answers.of(variant.op, problem)


def prove(
    variant: Variant,
    worker: Worker,
    plan: Plan,
    answers: Answers,
    *,
    helpers: Sequence[Worker] = (),
    recheck: Sequence[Problem] = (),
) -> Proof:
    """Put a variant through the battery.

    Parameters
    ----------
    variant : Variant
    worker : Worker
        It is restarted where the variant ends it.
    plan : Plan
    answers : Answers
        Shared with other variants of the op, so that each key is made once.
    helpers : sequence of Worker
        They take their share of the problems.
    recheck : sequence of Problem
        Problems that the variant failed at before: they come first, and go through every gate.

    Returns
    -------
    Proof
        Never raises for what the variant does.
    """
    began = time.monotonic()
    examination = Examination(Proof(variant), (worker, *helpers), plan, answers)
    simulated = examination.device == "sim"
    asked = [*map(Asked, recheck), *given(variant, simulated=simulated)]
    _ask_for_last(variant, asked, answers)
    found = drawn(variant, plan, worker.check, simulated=simulated)
    examination.proof.drawn = sum(not refusals(variant, one.problem) for one in found)
    examination.proof.recheck = tuple(problem for problem in recheck if not refusals(variant, problem))
    asked += found
    _ask_for_last(variant, asked, answers)
    with suppress(Rejected, ShrunkEnough, hypothesis.errors.Flaky):  # what failed is known
        try:
            examination.examine(asked)
        except Rejected:
            examination.shrink()
    return _concluded(examination, began, whole=True)


def prove_on(variant: Variant, worker: Worker, plan: Plan, problem: Problem, answers: Answers) -> Proof:
    """Put a variant through every gate on one given problem; otherwise as `prove`."""
    began = time.monotonic()
    examination = Examination(Proof(variant), (worker,), plan, answers)
    with suppress(Rejected, ShrunkEnough):
        examination.examine([Asked(problem)])
    return _concluded(examination, began, whole=False)
