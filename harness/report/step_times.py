"""Milliseconds that the calls of an op take in one training step, by the newest stored race of each call.

Every call is weighted by the number of times that the step makes it. Its time is the lower quartile of the samples, the figure
that other work on the machine disturbs least; the champions are chosen by the same figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.race.statistics import summarise
from models.workloads import EXAMPLE, workloads_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from models.workloads import Workload
    from registry.op import Op
    from registry.records import Run

__all__ = ["StepTimes", "step_times"]


@dataclass(frozen=True)
class StepTimes:
    """The times of one op's calls in a training step.

    Attributes
    ----------
    calls : list of (Workload, dict of str to float)
        Each workload with the milliseconds of one call, by contestant. The dict is empty where the call was not raced.
    """

    calls: list[tuple[Workload, dict[str, float]]]

    @property
    def count(self) -> int:
        """Number of calls that one update makes."""
        return sum(workload.count for workload, _ in self.calls)

    @property
    def note(self) -> str:
        """The reason why the op takes no part in an update; "" if it takes part."""
        if self.count:
            return ""
        if not self.calls or all(workload.step == EXAMPLE for workload, _ in self.calls):
            return "not part of a GPT-2 step"
        return "in validation only"

    def weight(self, workload: Workload) -> int:
        """Return how often a call counts; a call that no update makes is shown as one call."""
        return workload.count if self.count else 1

    def total(self, contestant: str) -> float | None:
        """Return the milliseconds of all calls with one contestant; None if it was not raced in each of them."""
        times = [call_times.get(contestant) for _, call_times in self.calls]
        if not times or None in times:
            return None
        return sum(self.weight(w) * call_times[contestant] for w, call_times in self.calls)

    def fastest(self, names: Iterable[str]) -> dict[str, str]:
        """Return, by the label of each call, the fastest of the contestants called `names`; empty if a call was not raced."""
        wanted, best = set(names), {}
        for workload, times in self.calls:
            known = {name: ms for name, ms in times.items() if name in wanted}
            if not known:
                return {}
            best[workload.label] = min(known, key=lambda name: known[name])
        return best

    def total_of(self, chosen: dict[str, str]) -> float:
        """Return the milliseconds of all calls, each with the contestant that `chosen` holds for its label."""
        return sum(self.weight(w) * times[chosen[w.label]] for w, times in self.calls)


def step_times(op: Op, runs: Iterable[Run], step: str) -> StepTimes:
    """Return the times of the calls that the training step `step` makes of `op`, in float32.

    An op that the step does not call has the times of its examples.
    """
    newest = {run.workload: run for run in runs if (run.op, run.dtype) == (op.name, "float32")}
    workloads = workloads_of(op, step, "float32") or workloads_of(op, EXAMPLE)
    calls = []
    for workload in workloads:
        run = newest.get(workload.name)
        times = {row.variant: summarise(row.samples_ms).lower_quartile for row in run.rows if row.samples_ms} if run else {}
        calls.append((workload, times))
    return StepTimes(calls)
