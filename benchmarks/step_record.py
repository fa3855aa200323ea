"""The records of ``python -m benchmarks.step``, which ``--json`` prints and ``results/<machine>/steps.jsonl`` stores."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchmarks.arms import CRUCIBLE
from harness.race.entries import commit
from harness.race.statistics import paired_ratio
from registry.errors import CrucibleError
from registry.machine import machine_key, versions
from registry.record_base import Record, RecordPart, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FILE", "LOSS_TOLERANCE", "ArmTimes", "Ratio", "StepRun", "check_conditions", "check_losses", "ratios_of"]

FILE = "steps.jsonl"

# The tolerance is above the effect of rounding: within 200 steps of gpt2-nano at 4 x 32, losses in float32 and in float64
# differ by at most 6e-6, within 100 steps by 6e-7; losses of gpt2-124m at 4 x 64 in C and in torch agreed to 3e-6. It is
# below the effect of different work: a softmax over the padded vocabulary changes the first loss by 8.5e-5, and in gpt2-nano
# a learning rate that is wrong by one per cent changes a loss within five steps by 9e-5.
LOSS_TOLERANCE = 2e-5


def _versions() -> dict[str, str]:
    try:
        return {**versions(), "torch": version("torch")}
    except PackageNotFoundError:
        return {**versions(), "torch": "absent"}


@dataclass(frozen=True, kw_only=True)
class ArmTimes(RecordPart):
    """The times and losses of one arm.

    Attributes
    ----------
    ms : list of float
        Milliseconds of the step of each round.
    losses : list of float
        The loss of every step, including the steps before the rounds.
    peak_rss : float
        Peak memory of the arm's process in RAM, in MiB, without the C++ compiler's processes that torch.compile starts.
    first_step : dict of str to float
        Seconds from the start of the process to its first finished step: ``found`` with the user's compiler caches; or, after
        ``--first-step``, ``cold`` with empty caches and ``warm`` with the caches that the cold process filled.
    """

    arm: str
    ms: list[float]
    losses: list[float]
    median: float
    lower_quartile: float
    upper_quartile: float
    peak_rss: float
    first_step: dict[str, float]

    @classmethod
    def of(cls, arm: str, ms: list[float], losses: list[float], peak_rss: float, first_step: dict[str, float]) -> Self:
        """Return the record of an arm with these samples."""
        lower, median, upper = map(float, np.quantile(ms, (0.25, 0.5, 0.75)))
        return cls(
            arm=arm,
            ms=ms,
            losses=losses,
            median=median,
            lower_quartile=lower,
            upper_quartile=upper,
            peak_rss=peak_rss,
            first_step=first_step,
        )


@dataclass(frozen=True, kw_only=True)
class Ratio(RecordPart):
    """One arm of torch compared with Crucible.

    Attributes
    ----------
    time : float
        The arm's time divided by Crucible's time: the median of the ratios of all rounds.
    interval : list of float
        The 95 % bootstrap interval of `time`, or a wider one for fewer than six rounds (`paired_ratio`).
    lower_quartile : float
        The lower quartile of the arm's times divided by the lower quartile of Crucible's times.
    memory : float
        Crucible's peak memory divided by the arm's peak memory.
    """

    arm: str
    time: float
    interval: list[float]
    lower_quartile: float
    memory: float


@dataclass(frozen=True, kw_only=True)
class StepRun(Record):
    """One run of the benchmark.

    Attributes
    ----------
    caches : str
        The compiler caches of the rounds: ``found`` for the user's caches, ``warm`` after ``--first-step``.
    kernels : dict of str to str
        Crucible's variants by op.
    left_out : dict of str to str
        The arms that cannot run on this machine, each with the reason.
    """

    model: str
    batch: int
    sequence: int
    threads: int
    rounds: int
    caches: str
    kernels: dict[str, str]
    arms: list[ArmTimes]
    ratios: list[Ratio]
    left_out: dict[str, str]
    dtype: str = "float32"
    loss_tolerance: float = LOSS_TOLERANCE
    commit: str = field(default_factory=commit)
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=_versions)
    created: str = field(default_factory=now)

    @classmethod
    def with_parts(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a parsed line with its arms and ratios as records."""
        arms = [ArmTimes.from_json(arm) for arm in data["arms"]]
        return {**data, "arms": arms, "ratios": [Ratio.from_json(ratio) for ratio in data["ratios"]]}

    @property
    def strongest(self) -> Ratio | None:
        """The comparison with the fastest arm of torch relative to Crucible; None if there is no comparison."""
        return min(self.ratios, key=lambda ratio: ratio.time, default=None)


def ratios_of(arms: Sequence[ArmTimes]) -> list[Ratio]:
    """Return the comparison of every other arm with Crucible; an empty list if the run has no arm of Crucible."""
    ours = next((arm for arm in arms if arm.arm == CRUCIBLE), None)
    if ours is None:
        return []
    ratios = []
    for arm in arms:
        if arm is not ours:
            time = paired_ratio(arm.ms, ours.ms)
            ratios.append(
                Ratio(
                    arm=arm.arm,
                    time=time.ratio,
                    interval=[time.low, time.high],
                    lower_quartile=arm.lower_quartile / ours.lower_quartile,
                    memory=ours.peak_rss / arm.peak_rss,
                )
            )
    return ratios


def check_losses(step: int, losses: Mapping[str, float], tolerance: float = LOSS_TOLERANCE) -> None:
    """Compare the losses of all arms at one step.

    Raises
    ------
    CrucibleError
        A loss is not finite, or two losses differ by more than the tolerance, relative to the smaller one.
    """
    for arm, loss in losses.items():
        if not math.isfinite(loss):
            raise CrucibleError(f"step {step}: the loss of arm {arm} is {loss}; nothing was compared")
    low, high = (bound(losses, key=losses.__getitem__) for bound in (min, max))
    apart = losses[high] - losses[low]
    if apart > tolerance * abs(losses[low]):
        raise CrucibleError(
            f"step {step}: arms {low} and {high} do not do the same work: their losses are {losses[low]:.7g} and "
            f"{losses[high]:.7g}, {apart / abs(losses[low]):.1e} apart where {tolerance:.0e} is allowed; nothing was compared"
        )


def check_conditions(expected: Mapping[str, Any], reported: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare the threads, the dtype and the treatment of subnormal numbers of all arms with the expected ones.

    Raises
    ------
    CrucibleError
        A condition of an arm differs from the expected one.
    """
    for arm, conditions in reported.items():
        for name, value in expected.items():
            if conditions[name] != value:
                raise CrucibleError(f"arm {arm} runs with {name} {conditions[name]} where all arms are to have {value}")
