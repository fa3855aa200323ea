"""The kinds of records: a proof, a race with its rows, and a champion. Each survives the disk and a later version's fields."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from registry.errors import CrucibleError
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.variant import Variant

__all__ = ["RACE", "Champion", "Evidence", "Record", "Row", "Run"]

RACE = "race"  # the gate of evidence that revokes a proof


def now() -> str:
    """Return the time in UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of the records: read back leniently, so that an old file survives a new field."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from a parsed line; unknown keys are ignored."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in data.items() if k in known})

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Evidence(Record):
    """That one variant went through the battery on one machine.

    Attributes
    ----------
    source, contract : str
        Hashes of the variant's sources and of the op's contract; evidence is fresh while both still hold.
    status : str
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused`` (no drawn problem was supported), or what the
        simulator found: ``race``, ``out_of_bounds``, ...
    gate : str
        The gate that rejected it; "" if it passed. The gate ``race`` means that a race refuted the variant.
    worst_over_budget : float
        Largest error divided by what the error law allows; at most 1 if it passed.
    mutation_score : float
        Share of the null kernels that the drawn problems would have caught.
    note : str
        Why a race refuted the variant.
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
    worst_over_budget: float = 0.0
    mutation_score: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    note: str = ""
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

    @property
    def revokes(self) -> bool:
        """Whether this record says that a race refuted the variant."""
        return self.gate == RACE and self.status != "passed"

    def is_fresh(self, variant: Variant) -> bool:
        """Whether this still speaks of `variant` as it is now, on this machine with these libraries."""
        return (
            (self.op, self.variant) == (variant.op.name, variant.name)
            and self.machine == machine_key(self.device)
            and self.versions == versions(self.device)
            and self.source == source_hash(variant)
            and self.contract == contract_hash(variant.op)
        )


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """One contestant of a race. A time exists only where the status is ``passed``."""

    variant: str
    source: str
    status: str
    yardstick: bool = False
    samples_ms: list[float] = field(default_factory=list)
    note: str = ""

    def __post_init__(self) -> None:
        if self.samples_ms and self.status != "passed":
            raise CrucibleError(f"row {self.variant!r} has times but its status is {self.status!r}")


@dataclass(frozen=True, kw_only=True)
class Run(Record):
    """One race: an op at one workload, all contestants interleaved."""

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
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from a parsed line, rows included."""
        return super().from_json({**data, "rows": [Row.from_json(row) for row in data["rows"]]})


@dataclass(frozen=True, kw_only=True)
class Champion(Record):
    """The winner of an op at one workload, derived from the newest run whose contestants are proven.

    Attributes
    ----------
    runner_up : str
        The next variant; "" where there was none.
    ratio, ratio_low, ratio_high : float
        Runner-up's time over the champion's, and its 95 % bootstrap interval.
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
        """The call that this champion speaks for, and how it was raced."""
        return self.op, self.workload, self.threads, self.protocol, self.dtype, self.device
