"""The sum of the raced calls of a training step, compared with the measured time of the step with the same kernels.

A race times one call alone, in a process of its own. The comparison shows whether such times add up to the time of a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.race.statistics import summarise
from harness.report.step_times import step_times
from models.workloads import parse_step, step_workloads
from registry.record_base import Record

if TYPE_CHECKING:
    from registry.records import Store
    from registry.table import Table

__all__ = ["STEPS_FILE", "TOLERANCE", "MeasuredStep", "StepSum", "step_sum"]

STEPS_FILE = "steps.jsonl"  # written by benchmarks.step
CRUCIBLE = "crucible"  # the arm of benchmarks.step that runs the project's kernels
TOLERANCE = 0.10


@dataclass(frozen=True, kw_only=True)
class MeasuredStep(Record):
    """The fields of a record of ``benchmarks.step`` that give the time of a whole step.

    Attributes
    ----------
    kernels : dict of str to str
        Names of variants by ``op`` or ``op/label``.
    arms : list of dict
        One dict per arm: its name ``arm``, and ``ms``, the milliseconds of each step.
    """

    model: str
    batch: int
    sequence: int
    kernels: dict[str, str]
    arms: list[dict[str, Any]]
    created: str = ""

    @property
    def step_ms(self) -> float | None:
        """Lower quartile of the milliseconds of a step with the project's kernels; None if the benchmark did not time them."""
        return next((summarise(arm["ms"]).lower_quartile for arm in self.arms if arm["arm"] == CRUCIBLE and arm["ms"]), None)


@dataclass(frozen=True)
class StepSum:
    """The sum of the races of a step's calls, and the time of the measured step.

    Attributes
    ----------
    races_ms, step_ms : float
    missing : list of str
        Calls for which the step's variant has no stored race; their time is not in the sum.
    """

    races_ms: float
    step_ms: float
    missing: list[str]

    @property
    def agrees(self) -> bool:
        """Whether the sum is complete and differs from the step by at most a tenth."""
        return not self.missing and abs(self.races_ms / self.step_ms - 1) <= TOLERANCE

    def __str__(self) -> str:
        text = (
            f"The races of a step's calls add up to {self.races_ms:,.0f} ms with the kernels of the last measured step, "
            f"which took {self.step_ms:,.0f} ms (sum over step: {self.races_ms / self.step_ms:.2f})."
        )
        return f"{text} Not raced: {', '.join(self.missing)}." if self.missing else text


def step_sum(table: Table, store: Store, step: str) -> StepSum | None:
    """Return the sum for the newest measured step called `step`; None if there is none among the records."""
    model, batch, sequence = parse_step(step)
    shape = (model.name, batch, sequence)
    known = store.read(STEPS_FILE, MeasuredStep)
    measured = [m for m in known if (m.model, m.batch, m.sequence) == shape and m.step_ms is not None]
    if not measured or (step_ms := measured[-1].step_ms) is None:
        return None
    kernels, runs = measured[-1].kernels, store.runs()
    times = {op: step_times(table.op(op), runs, step) for op in {w.op for w in step_workloads(step)}}
    total, missing = 0.0, []
    for op, step_times_of_op in times.items():
        for workload, contestants in step_times_of_op.calls:
            name = f"{op}/{workload.label}" if workload.label else op
            variant = kernels.get(name, kernels.get(op, ""))
            if workload.count and variant not in contestants:
                missing.append(f"{name} with {variant or 'an unknown variant'}")
            elif workload.count:
                total += workload.count * contestants[variant]
    return StepSum(total, step_ms, sorted(missing))
