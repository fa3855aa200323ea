"""The kinds of records: a proof, a race with its rows, and a champion. Unknown fields of later versions are ignored."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from registry.enums import Device, Status
from registry.errors import CrucibleError
from registry.machine import machine_key, versions
from registry.problem import parse_problem
from registry.profiles import fewest_problems
from registry.record_base import Record, RecordPart, VariantRecord, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.op import Op

__all__ = ["RACE", "ROWS_ONLY", "Champion", "Evidence", "Row", "Run", "standing"]

RACE = "race"  # the gate in evidence by which a race revokes a proof
ROWS_ONLY = frozenset(
    {Status.UNCHECKED, Status.SLOW, Status.IMPLAUSIBLE, Status.UNPROVEN, Status.UNAVAILABLE, Status.UNLOADABLE}
)


@dataclass(frozen=True, kw_only=True)
class Evidence(VariantRecord):
    """The record of one proof of a variant: its battery on one machine.

    Attributes
    ----------
    status : Status
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused`` (the variant supports no drawn problem), ``partial``
        (no problem failed, but the proof had too few problems), or the kind of the simulator's finding: ``race``,
        ``out_of_bounds``, ...
    gate : str
        The gate that rejected the variant; "" if it passed. The gate ``race`` means that a race refuted the variant.
    fakes_rejected : float
        Share of the fake kernels that the drawn problems rejected.
    note : str
        The reason why a race refuted the variant.
    rechecked : list of str
        Problems that the variant had failed before and that this proof repeated, as lines.
    """

    STATUSES: ClassVar[frozenset[Status]] = frozenset(Status) - ROWS_ONLY - {Status.NOT_COMPARED, Status.SOURCE_CHANGED}

    profile: str = "dev"
    problems: int = 0
    seed: int = 0
    fakes_rejected: float = 0.0
    note: str = ""
    rechecked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("fakes_rejected", "a share from 0 to 1", holds=self.fakes_rejected <= 1)
        if self.status == Status.PASSED:
            least = fewest_problems(self.profile)
            allowed = f"{least} or more where the status is 'passed' and the profile is {self.profile!r}"
            self.require("problems", allowed, holds=self.problems >= least)

    @classmethod
    def with_parts(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a parsed line. A pass with fewer problems than its profile requires becomes ``partial``."""
        present = {**data}
        if data["status"] == Status.PASSED and data.get("problems", 0) < fewest_problems(data.get("profile", "dev")):
            present["status"] = Status.PARTIAL
        return present

    @property
    def revokes(self) -> bool:
        """Whether this record says that a race refuted the variant."""
        return self.gate == RACE and self.status != Status.PASSED

    @property
    def is_failure(self) -> bool:
        """Whether the proof found the variant wrong; too few or too weak problems are no failure."""
        return self.status not in {Status.PASSED, Status.PARTIAL, Status.REFUSED} and self.gate != "non-vacuity"

    def failed_problem(self, op: Op) -> str:
        """Return the problem that the variant failed, as the line that `Problem` prints; "" if the record names no problem."""
        try:
            words = shlex.split(self.reproduce)
            return str(parse_problem(op, words[words.index("--problem") + 1]))
        except (ValueError, IndexError, CrucibleError):
            return ""


def standing(fresh: Iterable[Evidence], op: Op) -> tuple[Evidence | None, list[Evidence]]:
    """Return the evidence that counts among the fresh evidence about one variant, and the failures that are still valid.

    A failure is valid until a whole proof that repeats the failed problem passes. A proof with another seed or with fewer
    problems does not cancel it. A failure in a race is valid until the source changes. The newest valid failure counts. Without
    one, the newest proof that passed counts. If no proof passed, the newest evidence counts.

    Parameters
    ----------
    fresh : iterable of Evidence
        Evidence about one variant on one device, oldest first.
    """
    counts: Evidence | None = None
    failures: list[Evidence] = []
    for record in fresh:
        if record.is_failure:
            failures.append(record)
        elif record.status == Status.PASSED:
            repeated = set(record.rechecked) - {""}
            failures = [f for f in failures if f.revokes or f.failed_problem(op) not in repeated]
            counts = record
        elif counts is None or counts.status != Status.PASSED:
            counts = record
    if failures:
        counts = next((failure for failure in reversed(failures) if failure.revokes), failures[-1])
    return counts, failures


def _check_conditions(record: Run | Champion) -> None:
    """Check that a device has times, that the protocol of a race belongs to it, and that there is a thread."""
    record.require("device", "cpu, cuda; a simulated GPU has no time", holds=record.device != Device.SIM)
    begin = f"{record.device}-"
    record.require("protocol", f"{begin}... on device {record.device}", holds=record.protocol.startswith(begin))
    record.require("threads", "1 or more", holds=record.threads >= 1)


@dataclass(frozen=True, kw_only=True)
class Row(RecordPart):
    """One contestant of a race. Only a contestant with the status ``passed`` has times.

    Attributes
    ----------
    baseline : bool
        Whether the contestant is a baseline.
    """

    STATUSES: ClassVar[frozenset[Status]] = ROWS_ONLY | {
        Status.PASSED, Status.WRONG, Status.FAILED, Status.CRASHED, Status.HUNG, Status.REFUSED
    }  # fmt: skip

    variant: str
    source: str
    status: Status
    baseline: bool = False
    samples_ms: list[float] = field(default_factory=list)
    note: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        times = all(isinstance(ms, int | float) and math.isfinite(ms) and ms >= 0 for ms in self.samples_ms)
        self.require("samples_ms", "finite numbers from 0 up", holds=times)
        if self.samples_ms:
            self.require("status", "'passed' where there are times", holds=self.status == Status.PASSED)

    @property
    def time_ms(self) -> float:
        """The time that decides: the lower quartile, which other processes on the machine change least of all quantiles."""
        return float(np.quantile(np.asarray(self.samples_ms, np.float64), 0.25))


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """The record of one race: an op at one workload, with all contestants interleaved."""

    op: str
    workload: str
    dims: dict[str, int]
    params: dict[str, Any]
    protocol: str
    threads: int
    rows: list[Row]
    controls: dict[str, float]
    roofline: dict[str, float]
    dtype: str = "float32"
    device: Device = Device.CPU
    commit: str = ""
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_conditions(self)
        names = [row.variant for row in self.rows]
        self.require("rows", "one row for each variant", holds=len(set(names)) == len(names))

    def ranked(self, sources: Mapping[str, str]) -> list[Row]:
        """Return the rows with times of variants whose sources are still the same, the fastest first.

        Every choice of a variant starts from this order: the leaderboard's champions, and the trainer where a call has none.

        Parameters
        ----------
        sources : mapping of str to str
            Hash of the present sources of each variant that may be chosen.
        """
        rows = [row for row in self.rows if row.samples_ms and not row.baseline and sources.get(row.variant) == row.source]
        return sorted(rows, key=lambda row: row.time_ms)

    @classmethod
    def with_parts(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a parsed line with its rows as records."""
        return {**data, "rows": [Row.from_json(row) for row in data["rows"]]}


@dataclass(frozen=True, kw_only=True)
class Champion(Record):
    """The winner of an op at one workload, derived from the newest race whose contestants are proven.

    Attributes
    ----------
    runner_up : str
        The next variant; "" if there is no other variant.
    ratio, ratio_low, ratio_high : float
        The runner-up's time divided by the champion's time, and its 95 % bootstrap interval.
    """

    op: str
    workload: str
    dims: dict[str, int]
    variant: str
    source: str
    threads: int
    median_ms: float
    protocol: str = "cpu-warm"
    dtype: str = "float32"
    device: Device = Device.CPU
    runner_up: str = ""
    ratio: float = 1.0
    ratio_low: float = 1.0
    ratio_high: float = 1.0
    reason: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_conditions(self)
        self.require("runner_up", "another variant, or ''", holds=self.runner_up != self.variant)
        inside = self.ratio_low <= self.ratio <= self.ratio_high
        self.require("ratio", f"from ratio_low, {self.ratio_low}, to ratio_high, {self.ratio_high}", holds=inside)

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """The call and the race conditions of this champion."""
        return self.op, self.workload, self.threads, self.protocol, self.dtype, self.device
