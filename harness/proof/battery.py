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
from registry.machine import thread_count
from registry.paths import RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.proof.answers import Answers
    from harness.proof.worker_handle import Worker
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["PROFILES", "Plan", "Proof", "prove", "prove_on", "register_profiles"]


@dataclass(frozen=True)
class Profile:
    """How much is drawn.

    Attributes
    ----------
    examples : int
        Problems drawn by hypothesis; the basic ones come on top.
    shrink_seconds : float
        How long a failure is made smaller.
    derandomised : bool
        Draw the same problems every time.
    """

    examples: int
    shrink_seconds: float
    derandomised: bool = False


PROFILES = {"dev": Profile(24, 5.0), "ci": Profile(60, 10.0, derandomised=True), "deep": Profile(1000, 60.0)}


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
    """

    profile: str = "dev"
    examples: int | None = None
    seed: int = 0
    threads: int = field(default_factory=thread_count)
    gpu: bool = False
    kernels_path: tuple[Path, ...] = ()
    results: Path = RESULTS

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
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused``, or what the simulator found.
    gate, message : str
        Where and why it was rejected.
    problems : int
        Problems that it passed and that could have told it from null kernels.
    vacuous, refused : int
        Problems that could not (empty arrays), and problems that it does not support.
    """

    variant: Variant
    status: str = "passed"
    gate: str = ""
    message: str = ""
    problem: Problem | None = None
    problems: int = 0
    vacuous: int = 0
    refused: int = 0
    worst_over_budget: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    tally: Tally = field(default_factory=Tally)

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return self.status == "passed"

    def __str__(self) -> str:
        if self.passed:
            return f"{self.variant} passed {self.problems} problems, worst error {self.worst_over_budget:.2g} of its budget"
        return f"{self.variant} {self.status} at gate {self.gate!r}: {self.message}\n  reproduce: {self.reproduce}"


def _concluded(examination: Examination, began: float) -> Proof:
    """Return the proof with its status."""
    proof, plan = examination.proof, examination.plan
    rejected = None if examination.smallest is None else check_again_afresh(examination.smallest)
    proof.seconds = time.monotonic() - began
    if rejected is not None:
        proof.status, proof.gate, proof.message = rejected.status, rejected.gate, rejected.message
        proof.problem = rejected.problem
        proof.worst_over_budget = max(proof.worst_over_budget, rejected.ratio)
        proof.reproduce = plan.reproduce(proof.variant, rejected.problem)
        return proof
    proof.reproduce = plan.reproduce(proof.variant)
    if proof.refused and not proof.problems + proof.vacuous:
        proof.status = "refused"
        proof.message = f"it supports none of {proof.refused} drawn problems: {examination.refusal}"
    elif not proof.problems:
        proof.status, proof.gate = "failed", "non-vacuity"
        proof.message = f"none of {proof.vacuous} drawn problems could tell it from a null kernel"
    return proof


def _ask_for_last(variant: Variant, asked: Sequence[Asked], answers: Answers) -> None:
    """Ask for one key: if it has to be made, torch is imported while others draw and start."""
    taken = (problem for problem, _ in reversed(asked) if not refusals(variant, problem))
    for problem in itertools.islice(taken, 1):
        answers.of(variant.op, problem)


def prove(variant: Variant, worker: Worker, plan: Plan, answers: Answers, *, helpers: Sequence[Worker] = ()) -> Proof:
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

    Returns
    -------
    Proof
        Never raises for what the variant does.
    """
    began = time.monotonic()
    examination = Examination(Proof(variant), (worker, *helpers), plan, answers)
    simulated = examination.device == "sim"
    asked = given(variant, simulated=simulated)
    _ask_for_last(variant, asked, answers)
    asked += drawn(variant, plan, worker.check, simulated=simulated)
    _ask_for_last(variant, asked, answers)
    with suppress(Rejected, ShrunkEnough, hypothesis.errors.Flaky):  # what failed is known
        try:
            examination.examine(asked)
        except Rejected:
            examination.shrink()
    return _concluded(examination, began)


def prove_on(variant: Variant, worker: Worker, plan: Plan, problem: Problem, answers: Answers) -> Proof:
    """Put a variant through every gate on one given problem; otherwise as `prove`."""
    began = time.monotonic()
    examination = Examination(Proof(variant), (worker,), plan, answers)
    with suppress(Rejected, ShrunkEnough):
        examination.examine([Asked(problem)])
    return _concluded(examination, began)
