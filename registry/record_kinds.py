"""The kinds of records: a proof, a race with its rows, and a champion. Unknown fields of later versions are ignored."""

from __future__ import annotations

import dataclasses
import datetime as dt
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from registry.errors import CrucibleError
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.problem import parse_problem
from registry.profiles import fewest_problems
from registry.record_schema import SCHEMA, present_names, require_known_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.op import Op
    from registry.variant import Variant

__all__ = ["RACE", "Champion", "Evidence", "Record", "RecordPart", "Row", "Run", "now", "standing"]

RACE = "race"  # the gate in evidence by which a race revokes a proof


def now() -> str:
    """Return the time in UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class RecordPart:
    """Base class of the records and of their parts. Reading ignores unknown fields, and new fields have defaults."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build a part from parsed JSON. Unknown keys are ignored."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in present_names(data).items() if k in known})

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain data for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Record(RecordPart):
    """Base class of the records: each is one line of a file, or one champion of a document.

    Attributes
    ----------
    schema : int
        The schema number of the fields. A record that was read from an older line has the present fields and number.
    """

    schema: int = SCHEMA

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build a record from a parsed line of any schema up to the present one. Unknown keys are ignored."""
        require_known_schema(data)
        return super().from_json({**cls.with_parts(data), "schema": SCHEMA})

    @classmethod
    def with_parts(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a parsed line in which records replace the JSON of its parts, if this kind has any."""
        return dict(data)


@dataclass(frozen=True, kw_only=True)
class Evidence(Record):
    """The record of one proof of a variant: its battery on one machine.

    Attributes
    ----------
    source, contract : str
        Hashes of the variant's sources and of the op's contract. Evidence is fresh while neither changes.
    status : str
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused`` (the variant supports no drawn problem), ``partial``
        (no problem failed, but the proof had too few problems), or the kind of the simulator's finding: ``race``,
        ``out_of_bounds``, ...
    gate : str
        The gate that rejected the variant; "" if it passed. The gate ``race`` means that a race refuted the variant.
    worst_over_tolerance : float
        Largest error divided by its tolerance; at most 1 if the variant passed.
    fakes_rejected : float
        Share of the fake kernels that the drawn problems rejected.
    note : str
        The reason why a race refuted the variant.
    rechecked : list of str
        Problems that the variant had failed before and that this proof repeated, as lines.
    """

    op: str
    variant: str
    source: str
    contract: str
    status: str
    gate: str = ""
    device: str = "host"
    profile: str = "dev"
    problems: int = 0
    seed: int = 0
    worst_over_tolerance: float = 0.0
    fakes_rejected: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    note: str = ""
    rechecked: list[str] = field(default_factory=list)
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build evidence from a parsed line. A pass with fewer problems than its profile requires becomes ``partial``."""
        record = super().from_json(data)
        too_few = record.status == "passed" and record.problems < fewest_problems(record.profile)
        return dataclasses.replace(record, status="partial") if too_few else record

    @property
    def revokes(self) -> bool:
        """Whether this record says that a race refuted the variant."""
        return self.gate == RACE and self.status != "passed"

    def is_fresh(self, variant: Variant) -> bool:
        """Whether this is about the present sources of `variant`, on this machine with these libraries."""
        return (self.op, self.variant) == (variant.op.name, variant.name) and self.matches(
            source_hash(variant), contract_hash(variant.op)
        )

    def matches(self, source: str, contract: str) -> bool:
        """Whether the proof was about sources and a contract with these hashes, on this machine with these libraries."""
        return (
            self.source == source
            and self.contract == contract
            and self.machine == machine_key(self.device)
            and self.versions == versions(self.device)
        )

    @property
    def is_failure(self) -> bool:
        """Whether the proof found the variant wrong; too few or too weak problems are no failure."""
        return self.status not in {"passed", "partial", "refused"} and self.gate != "non-vacuity"

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
        elif record.status == "passed":
            repeated = set(record.rechecked) - {""}
            failures = [f for f in failures if f.revokes or f.failed_problem(op) not in repeated]
            counts = record
        elif counts is None or counts.status != "passed":
            counts = record
    if failures:
        counts = next((failure for failure in reversed(failures) if failure.revokes), failures[-1])
    return counts, failures


@dataclass(frozen=True, kw_only=True)
class Row(RecordPart):
    """One contestant of a race. Only a contestant with the status ``passed`` has times.

    Attributes
    ----------
    baseline : bool
        Whether the contestant is a baseline.
    """

    variant: str
    source: str
    status: str
    baseline: bool = False
    samples_ms: list[float] = field(default_factory=list)
    note: str = ""

    def __post_init__(self) -> None:
        if self.samples_ms and self.status != "passed":
            raise CrucibleError(f"row {self.variant!r} has times but its status is {self.status!r}")


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
    device: str = "host"
    commit: str = ""
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

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
    device: str = "host"
    runner_up: str = ""
    ratio: float = 1.0
    ratio_low: float = 1.0
    ratio_high: float = 1.0
    reason: str = ""

    @property
    def key(self) -> tuple[str, str, int, str, str, str]:
        """The call and the race conditions of this champion."""
        return self.op, self.workload, self.threads, self.protocol, self.dtype, self.device
