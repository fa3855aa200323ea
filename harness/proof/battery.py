"""The battery: draw problems for a variant, put it through the gates, shrink what fails, and say how to see it again."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import hypothesis

from harness.proof.asked import Asked, drawn, given, refusals
from harness.proof.checks import Rejected, check_again_afresh
from harness.proof.examination import Examination, ShrunkEnough
from harness.proof.nulls import Tally
from registry.commands import Folders, pasted
from registry.devices import kind_of
from registry.errors import UnknownNameError
from registry.fingerprint import contract_hash, source_hash
from registry.machine import thread_count
from registry.paths import RESULTS, ROOT
from registry.profiles import PROFILES, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.proof.answers import Answers
    from harness.proof.worker_handle import Worker
    from registry.fingerprint import Snapshot
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["PROFILES", "SOURCE_CHANGED", "Plan", "Profile", "Proof", "prove", "prove_on", "register_profiles"]

SOURCE_CHANGED = "source_changed"


def register_profiles() -> None:
    """Make the profiles known to hypothesis, so that every other property test runs under them too."""
    for name, profile in PROFILES.items():
        hypothesis.settings.register_profile(
            name, max_examples=profile.examples, derandomize=profile.derandomised, deadline=None, print_blob=False
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to draw, on how many threads, and how to write the reproducing line.

    Attributes
    ----------
    examples : int, optional
        Instead of the profile's number.
    seed : int
        Of hypothesis; used unless the profile is derandomised.
    gpu : bool
        Run CUDA variants on a GPU, not in the simulator.
    results : Path
        The folder of records.
    sources : Snapshot, optional
        The source files before this process imported them, if that was before the workers were made.
    """

    profile: str = "dev"
    examples: int | None = None
    seed: int = 0
    threads: int = field(default_factory=thread_count)
    gpu: bool = False
    kernels_path: tuple[Path, ...] = ()
    results: Path = RESULTS
    sources: Snapshot | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise UnknownNameError("profile", self.profile, PROFILES)

    @property
    def limits(self) -> Profile:
        """The profile's numbers."""
        return PROFILES[self.profile]

    def reproduce(self, variant: Variant, problem: Problem | None = None) -> str:
        """Return the command that shows a result again."""
        words = ["--op", variant.op.name, "--variant", variant.name, *Folders(self.kernels_path).words()]
        if variant.device != "host":
            words += ["--device", kind_of(variant, gpu=self.gpu)]
        if problem is None:
            return pasted("harness.verify", *words, "--profile", self.profile, folders=Folders(results=self.results))
        return pasted("harness.verify", *words, "--problem", str(problem))


@dataclass
class Proof:
    """What became of a variant.

    Attributes
    ----------
    status : str
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused``, or what the simulator found; ``partial`` if it failed
        nothing and was asked too little; ``source_changed`` if a source was written meanwhile, so that nothing is known.
    gate, message : str
        Where and why it was rejected.
    problems : int
        Problems that it passed and that could have told it from null kernels.
    vacuous, refused : int
        Problems that could not (empty arrays), and problems that it does not support.
    drawn : int
        Problems that were drawn and that it does support.
    source, contract : str
        Hashes of its sources and of its op's contract, as they were proven.
    recheck : tuple of Problem
        Problems that it failed at before, and passed now.
    """

    variant: Variant
    status: str = "passed"
    gate: str = ""
    message: str = ""
    problem: Problem | None = None
    problems: int = 0
    vacuous: int = 0
    refused: int = 0
    drawn: int = 0
    worst_over_budget: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    tally: Tally = field(default_factory=Tally)
    source: str = ""
    contract: str = ""
    recheck: tuple[Problem, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return self.status == "passed"

    @property
    def unharmed(self) -> bool:
        """Whether nothing failed, however little was asked."""
        return self.status in {"passed", "partial"}

    def __str__(self) -> str:
        if self.passed:
            return f"{self.variant} passed {self.problems} problems, worst error {self.worst_over_budget:.2g} of its budget"
        if self.status in {"partial", SOURCE_CHANGED}:
            return f"{self.variant} {self.status}: {self.message}\n  prove it again: {self.reproduce}"
        return f"{self.variant} {self.status} at gate {self.gate!r}: {self.message}\n  reproduce: {self.reproduce}"


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
