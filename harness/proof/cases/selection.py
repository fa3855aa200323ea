"""The problems of a proof: fixed cases and random cases, each with the expensive checks that it gets."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

from harness.proof.cases.strategies import basics, corners, dtypes_of, inside, is_small, longest, problems, some_of_each_kind
from registry.paths import ROOT
from registry.problem import parse_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.proof.plan import Plan
    from registry.op import Op
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["ExtraChecks", "TestCase", "fixed_cases", "random_cases", "refusals", "run_hypothesis"]

REGRESSIONS = ROOT / "tests" / "regressions"
RANDOM_SHARE = 4  # one random case of this many gets the expensive checks


class ExtraChecks(NamedTuple):
    """The expensive checks of a test case: they need more calls or more reference outputs.

    Attributes
    ----------
    more_calls : bool
        Call with one thread, and accumulate twice.
    checked : bool
        Run CUDA variants in the simulator's checked mode too, with the warps in another order.
    statelessness : bool
        Run the gate of this name.
    """

    more_calls: bool = True
    checked: bool = True
    statelessness: bool = True


class TestCase(NamedTuple):
    """A problem, and the expensive checks that it gets."""

    problem: Problem
    extra_checks: ExtraChecks = ExtraChecks()


def refusals(variant: Variant, problem: Problem) -> list[str]:
    """Return the reasons for which the variant does not support a problem; an empty list if it supports the problem."""
    return variant.refusals(problem.dims, problem.params, problem.dtype)


def regressions(op: Op) -> list[Problem]:
    """Return an op's regression cases: the lines of ``tests/regressions/<op>.txt`` that are not comments."""
    path = REGRESSIONS / f"{op.name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [parse_problem(op, line) for line in lines if line.strip() and not line.startswith("#")]


def _accepted(variant: Variant, candidates: list[Problem], *, simulated: bool) -> list[Problem]:
    """Return the problems without duplicates; a problem that the variant refuses is replaced by a similar accepted one."""
    moved = (inside(variant, problem, simulated=simulated) for problem in candidates)
    return list({str(problem): problem for problem in moved if not refusals(variant, problem)}.values())


def fixed_cases(variant: Variant, *, simulated: bool) -> list[TestCase]:
    """Return the test cases that do not depend on a seed: regression cases, basic problems and corners.

    - Regression cases get every check; the simulator skips regression cases that are too large for it.
    - Basic problems get `ExtraChecks.more_calls`; one of each kind gets every check.
    - Corners get `more_calls` and `checked`; the longest corner of each dim gets every check.
    - Problems that the variant refuses are included, so that the proof counts them.
    """
    op = variant.op
    kept = [p for p in regressions(op) if not simulated or is_small(op, p, simulated=True)]
    plain, edges = list(basics(op, dtypes_of(op, variant))), list(corners(op, variant, simulated=simulated))
    refused = [p for p in (*plain, *edges) if refusals(variant, p)]
    plain, edges = (_accepted(variant, candidates, simulated=simulated) for candidates in (plain, edges))
    edges = [p for p in edges if p not in plain]
    few, far = some_of_each_kind(op, plain), longest(op, edges)
    return [
        *map(TestCase, refused),
        *map(TestCase, kept),
        *(TestCase(p, ExtraChecks(checked=number in few, statelessness=number in few)) for number, p in enumerate(plain)),
        *(TestCase(p, ExtraChecks(statelessness=number in far)) for number, p in enumerate(edges)),
    ]


def run_hypothesis(variant: Variant, plan: Plan, told: Callable[[Problem], None], *, simulated: bool) -> None:
    """Let hypothesis draw problems and call `told` with each; where `told` raises, hypothesis draws smaller problems."""
    profile = plan.profile_settings
    settings = hypothesis.settings(
        max_examples=plan.examples or profile.examples,
        derandomize=profile.derandomised,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )

    # A derandomised profile draws by a seed that hypothesis derives from the name and the code of this function.
    # Another name or another body would change the drawn problems.
    def tell(problem: Problem) -> None:
        told(problem)

    test: Callable[[], None] = settings(hypothesis.given(problem=problems(variant.op, variant, simulated=simulated))(tell))
    if not profile.derandomised:
        test = hypothesis.seed(plan.seed)(test)
    test()


def random_cases(variant: Variant, plan: Plan, check: Callable[[], None], *, simulated: bool) -> list[TestCase]:
    """Return the problems that hypothesis draws while none of them fails.

    `check` is called before each problem is added; it may raise to stop the drawing.
    """
    drawn: list[Problem] = []

    def note(problem: Problem) -> None:
        check()
        drawn.append(problem)

    run_hypothesis(variant, plan, note, simulated=simulated)
    chosen = [zlib.crc32(str(problem).encode()) % RANDOM_SHARE == 0 for problem in drawn]
    return [
        TestCase(p, ExtraChecks(more_calls=extra, checked=extra, statelessness=extra))
        for p, extra in zip(drawn, chosen, strict=True)
    ]
