"""The battery: draw problems for a variant, put it through the gates, shrink what fails, and say how to see it again."""

from __future__ import annotations

import time
import zlib
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

from harness.proof.answers import Answers
from harness.proof.checks import (
    Case,
    Rejected,
    check_accumulates,
    check_again_afresh,
    check_call,
    check_one_thread,
    check_order,
    check_remembers_nothing,
    check_repeats,
    check_values,
)
from harness.proof.nulls import Tally
from harness.proof.oracle import load_ahead
from harness.proof.strategies import (
    basics,
    corners,
    dtypes_of,
    elements,
    is_small,
    longest,
    problems,
    some_of_each_kind,
)
from registry.devices import kind_of
from registry.errors import UnknownNameError
from registry.machine import thread_count
from registry.problem import parse_problem
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from harness.proof.worker_handle import Worker
    from registry.op import Op
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["PROFILES", "Plan", "Proof", "prove", "prove_on", "register_profiles"]

REGRESSIONS = ROOT / "tests" / "regressions"
DRAWN_SHARE = 4  # one in so many drawn problems goes through the gates that need more calls and answer keys


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


class Dear(NamedTuple):
    """Which of the gates that need more calls or answer keys a problem goes through."""

    more_calls: bool = True
    checked: bool = True
    replay: bool = True


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
    """

    profile: str = "dev"
    examples: int | None = None
    seed: int = 0
    threads: int = field(default_factory=thread_count)
    gpu: bool = False
    kernels_path: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise UnknownNameError("profile", self.profile, PROFILES)

    @property
    def limits(self) -> Profile:
        """The profile's numbers."""
        return PROFILES[self.profile]

    def reproduce(self, variant: Variant, problem: Problem | None = None) -> str:
        """Return the command that shows a result again."""
        paths = "".join(f" --kernels-path {p}" for p in self.kernels_path)
        command = f"python -m harness.verify --op {variant.op.name} --variant {variant.name}{paths}"
        if variant.device != "host":
            command += f" --device {kind_of(variant, gpu=self.gpu)}"
        if problem is None:
            return f"{command} --profile {self.profile}"
        return f'{command} --problem "{problem}"'


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


class _ShrunkEnough(BaseException):
    """Stops hypothesis where a smaller failure is not worth its time."""


class _Examination:
    """One variant's way through the battery."""

    def __init__(self, variant: Variant, worker: Worker, plan: Plan, answers: Answers) -> None:
        self.variant, self.worker, self.plan, self.answers = variant, worker, plan, answers
        self.device = kind_of(variant, gpu=plan.gpu)
        self.proof = Proof(variant)
        self.smallest: Rejected | None = None
        self.failed_at: Dear | None = None  # a failure is made smaller at the gates that it was found at
        self.refusal = ""
        self.give_up_at = float("inf")

    def begin(self) -> None:
        """Start the variant's process, while torch is imported."""
        load_ahead()
        self.worker.begin(self.variant, self.device)

    def examine(self, problem: Problem, dear: Dear) -> None:
        """Put the variant through the gates on one problem."""
        for _ in self._on(problem, dear):
            pass

    def _on(self, problem: Problem, dear: Dear) -> Iterator[None]:
        """Put the variant through the gates on one problem; yields when it has been called, and nothing was compared."""
        if self._refuses(problem):
            return
        if time.monotonic() > self.give_up_at:
            raise _ShrunkEnough
        answer = self.answers.of(self.variant.op, problem)
        try:
            case = Case(self.variant, answer, self.answers, self.worker, self.plan.threads, self.device)
            yield from self._gates(case, dear)
        except Rejected as rejected:
            self._remember(rejected)
            self.failed_at = dear
            raise
        if self.smallest is None:
            if self.proof.tally.ask(self.variant.op, problem, answer.values, answer.reference):
                self.proof.problems += 1
            else:
                self.proof.vacuous += 1

    def _gates(self, case: Case, dear: Dear) -> Iterator[None]:
        outputs = check_call(case)
        again = check_call(case, order=case.problem.seed)
        simulated = dear.checked and self.device == "sim"
        found = check_call(case, mode="checked", order="descending") if simulated else None
        more = [check_one_thread(case)] if dear.more_calls else []
        if dear.replay:
            more.append(check_remembers_nothing(case, outputs))
        for gate in more:
            next(gate, None)
        yield
        self.proof.worst_over_budget = max(self.proof.worst_over_budget, check_values(case, outputs))
        check_repeats(case, outputs, again)
        if found is not None:
            check_order(case, outputs, found)
        for gate in more:
            next(gate, None)
        if dear.more_calls:
            check_accumulates(case)

    def examine_around(self, given: Iterable[tuple[Problem, Dear]], draw: Callable[[], None]) -> None:
        """Put the variant through the gates on given problems, and in between, while their answer keys are made, `draw`.

        Where a call already fails, what is drawn may show the same on a smaller problem.
        """
        called = []
        with suppress(Rejected):
            for problem, dear in given:
                called.append(self._on(problem, dear))
                next(called[-1], None)
        draw()
        if self.smallest is None:
            for gates in called:
                next(gates, None)

    def _remember(self, rejected: Rejected) -> None:
        self.give_up_at = min(self.give_up_at, time.monotonic() + self.plan.limits.shrink_seconds)
        op, known = self.variant.op, self.smallest
        if known is None or elements(op, rejected.problem) <= elements(op, known.problem):
            self.smallest = rejected
        if rejected.status == "hung":
            raise _ShrunkEnough

    def draw(self) -> None:
        """Let hypothesis draw, and shrink the first failure."""
        limits = self.plan.limits
        self.give_up_at = float("inf")  # what failed before was not drawn
        settings = hypothesis.settings(
            max_examples=self.plan.examples or limits.examples,
            derandomize=limits.derandomised,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            print_blob=False,
        )

        def examine(problem: Problem) -> None:
            one_of_some = zlib.crc32(str(problem).encode()) % DRAWN_SHARE == 0
            self.examine(problem, self.failed_at or Dear(more_calls=one_of_some, checked=one_of_some, replay=one_of_some))

        drawn = problems(self.variant.op, self.variant, simulated=self.device == "sim")
        test: Callable[[], None] = settings(hypothesis.given(problem=drawn)(examine))
        if not limits.derandomised:
            test = hypothesis.seed(self.plan.seed)(test)
        test()

    def given(self) -> list[tuple[Problem, Dear]]:
        """Return the problems that are not drawn, each with the dear gates that it goes through.

        What once failed goes through all of them (but in the simulator only what is small enough for it), of the basic
        problems some of each kind. Replay, the dearest, sees those and the largest corners.
        """
        op, variant, simulated = self.variant.op, self.variant, self.device == "sim"
        kept = [p for p in regressions(op) if not self._refuses(p) and (not simulated or is_small(op, p, simulated=True))]
        plain = [p for p in basics(op, dtypes_of(op, variant)) if not self._refuses(p)]
        edges = [p for p in corners(op, variant, simulated=simulated) if not self._refuses(p)]
        few, far = some_of_each_kind(op, plain), longest(op, edges)
        return [
            *((p, Dear()) for p in kept),
            *((p, Dear(checked=number in few, replay=number in few)) for number, p in enumerate(plain)),
            *((p, Dear(replay=number in far)) for number, p in enumerate(edges)),
        ]

    def _refuses(self, problem: Problem) -> bool:
        """Take down that the variant refuses a problem, and why."""
        reasons = self.variant.refusals(problem.dims, problem.params, problem.dtype)
        if reasons:
            self.proof.refused += 1
            self.refusal = self.refusal or reasons[0]
        return bool(reasons)

    def conclude(self, began: float) -> Proof:
        """Fill in the status."""
        proof = self.proof
        rejected = None if self.smallest is None else check_again_afresh(self.smallest)
        proof.seconds = time.monotonic() - began
        if rejected is not None:
            proof.status, proof.gate, proof.message = rejected.status, rejected.gate, rejected.message
            proof.problem = rejected.problem
            proof.worst_over_budget = max(proof.worst_over_budget, rejected.ratio)
            proof.reproduce = self.plan.reproduce(self.variant, rejected.problem)
            return proof
        proof.reproduce = self.plan.reproduce(self.variant)
        if proof.refused and not proof.problems + proof.vacuous:
            proof.status, proof.message = "refused", f"it supports none of {proof.refused} drawn problems: {self.refusal}"
        elif not proof.problems:
            proof.status, proof.gate = "failed", "non-vacuity"
            proof.message = f"none of {proof.vacuous} drawn problems could tell it from a null kernel"
        return proof


def regressions(op: Op) -> list[Problem]:
    """Return the kept problems of an op: the lines of ``tests/regressions/<op>.txt`` that are not comments."""
    path = REGRESSIONS / f"{op.name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [parse_problem(op, line) for line in lines if line.strip() and not line.startswith("#")]


def prove(variant: Variant, worker: Worker, plan: Plan, answers: Answers | None = None) -> Proof:
    """Put a variant through the battery.

    Parameters
    ----------
    variant : Variant
    worker : Worker
        It is restarted where the variant ends it.
    plan : Plan
    answers : Answers, optional
        Shared with other variants of the op, so that each key is made once.

    Returns
    -------
    Proof
        Never raises for what the variant does.
    """
    began = time.monotonic()
    with Answers() if answers is None else nullcontext(answers) as shared:
        examination = _Examination(variant, worker, plan, shared)
        try:
            with suppress(Rejected, _ShrunkEnough):
                examination.begin()
                examination.examine_around(examination.given(), examination.draw)
        except hypothesis.errors.Flaky:
            if examination.smallest is None:
                raise
        return examination.conclude(began)


def prove_on(variant: Variant, worker: Worker, plan: Plan, problem: Problem, answers: Answers | None = None) -> Proof:
    """Put a variant through every gate on one given problem; otherwise as `prove`."""
    began = time.monotonic()
    with Answers() if answers is None else nullcontext(answers) as shared:
        examination = _Examination(variant, worker, plan, shared)
        with suppress(Rejected, _ShrunkEnough):
            examination.begin()
            examination.examine(problem, Dear())
        return examination.conclude(began)
