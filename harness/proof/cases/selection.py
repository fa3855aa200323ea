"""Which problems a variant is asked: given ones and drawn ones, each with the gates that it goes through."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity

from harness.proof.cases.strategies import basics, corners, dtypes_of, inside, is_small, longest, problems, some_of_each_kind
from registry.problem import parse_problem
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.proof.plan import Plan
    from registry.op import Op
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["Asked", "Dear", "draw", "drawn", "given", "refusals"]

REGRESSIONS = ROOT / "tests" / "regressions"
DRAWN_SHARE = 4  # one in so many drawn problems goes through the gates that need more calls and answer keys


class Dear(NamedTuple):
    """Which of the gates that need more calls or answer keys a problem goes through."""

    more_calls: bool = True
    checked: bool = True
    replay: bool = True


class Asked(NamedTuple):
    """A problem, and the dear gates that it goes through."""

    problem: Problem
    dear: Dear = Dear()


def refusals(variant: Variant, problem: Problem) -> list[str]:
    """Return why the variant does not support a problem; nothing if it does."""
    return variant.refusals(problem.dims, problem.params, problem.dtype)


def regressions(op: Op) -> list[Problem]:
    """Return the kept problems of an op: the lines of ``tests/regressions/<op>.txt`` that are not comments."""
    path = REGRESSIONS / f"{op.name}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [parse_problem(op, line) for line in lines if line.strip() and not line.startswith("#")]


def _accepted(variant: Variant, found: list[Problem], *, simulated: bool) -> list[Problem]:
    """Return problems, those that the variant refuses moved to where it accepts one, and none of them twice."""
    moved = (inside(variant, problem, simulated=simulated) for problem in found)
    return list({str(problem): problem for problem in moved if not refusals(variant, problem)}.values())


def given(variant: Variant, *, simulated: bool) -> list[Asked]:
    """Return the problems that are not drawn.

    What once failed goes through all the dear gates (but in the simulator only what is small enough for it), of the basic
    problems some of each kind. Replay, the dearest, sees those and the largest corners.
    """
    op = variant.op
    kept = [p for p in regressions(op) if not simulated or is_small(op, p, simulated=True)]
    plain, edges = list(basics(op, dtypes_of(op, variant))), list(corners(op, variant, simulated=simulated))
    refused = [p for p in (*plain, *edges) if refusals(variant, p)]
    plain, edges = (_accepted(variant, found, simulated=simulated) for found in (plain, edges))
    edges = [p for p in edges if p not in plain]
    few, far = some_of_each_kind(op, plain), longest(op, edges)
    return [
        *map(Asked, refused),
        *map(Asked, kept),
        *(Asked(p, Dear(checked=number in few, replay=number in few)) for number, p in enumerate(plain)),
        *(Asked(p, Dear(replay=number in far)) for number, p in enumerate(edges)),
    ]


def draw(variant: Variant, plan: Plan, told: Callable[[Problem], None], *, simulated: bool) -> None:
    """Let hypothesis draw problems; where one raises as it is told, smaller ones are drawn."""
    limits = plan.limits
    settings = hypothesis.settings(
        max_examples=plan.examples or limits.examples,
        derandomize=limits.derandomised,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )

    def tell(problem: Problem) -> None:  # the same function whoever is told: hypothesis derives its seed from it
        told(problem)

    test: Callable[[], None] = settings(hypothesis.given(problem=problems(variant.op, variant, simulated=simulated))(tell))
    if not limits.derandomised:
        test = hypothesis.seed(plan.seed)(test)
    test()


def drawn(variant: Variant, plan: Plan, check: Callable[[], None], *, simulated: bool) -> list[Asked]:
    """Return the problems that hypothesis draws as long as none fails; `check` is called with each, and may stop it."""
    found: list[Problem] = []

    def note(problem: Problem) -> None:
        check()
        found.append(problem)

    draw(variant, plan, note, simulated=simulated)
    some = [zlib.crc32(str(problem).encode()) % DRAWN_SHARE == 0 for problem in found]
    return [Asked(p, Dear(more_calls=dear, checked=dear, replay=dear)) for p, dear in zip(found, some, strict=True)]
