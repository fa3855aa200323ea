"""The kinds of records: a proof, a race with its rows, and a champion. Each survives the disk and a later version's fields."""

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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry.op import Op
    from registry.variant import Variant

__all__ = ["RACE", "Champion", "Evidence", "Record", "Row", "Run", "now", "standing"]

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
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused`` (no drawn problem was supported), ``partial`` (nothing
        failed, but too few problems were asked for anybody to rely on it), or the finding of the simulator: ``race``,
        ``out_of_bounds``, ...
    gate : str
        The gate that rejected it; "" if it passed. The gate ``race`` means that a race refuted the variant.
    worst_over_budget : float
        Largest error divided by what the error law allows; at most 1 if it passed.
    mutation_score : float
        Share of the null kernels that the drawn problems would have caught.
    note : str
        Why a race refuted the variant.
    rechecked : list of str
        Problems that the variant had failed at before and that this proof asked again, as lines.
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
    rechecked: list[str] = field(default_factory=list)
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from a parsed line; a record that passed with fewer problems than its profile's least reads as ``partial``."""
        made = super().from_json(data)
        too_few = made.status == "passed" and made.problems < fewest_problems(made.profile)
        return dataclasses.replace(made, status="partial") if too_few else made

    @property
    def revokes(self) -> bool:
        """Whether this record says that a race refuted the variant."""
        return self.gate == RACE and self.status != "passed"

    def is_fresh(self, variant: Variant) -> bool:
        """Whether this still speaks of `variant` as it is now, on this machine with these libraries."""
        return (self.op, self.variant) == (variant.op.name, variant.name) and self.speaks_of(
            source_hash(variant), contract_hash(variant.op)
        )

    def speaks_of(self, source: str, contract: str) -> bool:
        """Whether these are the hashes of what was proven, on this machine with these libraries."""
        return (
            self.source == source
            and self.contract == contract
            and self.machine == machine_key(self.device)
            and self.versions == versions(self.device)
        )

    @property
    def is_failure(self) -> bool:
        """Whether the variant was found wrong, rather than asked too little."""
        return self.status not in {"passed", "partial", "refused"} and self.gate != "non-vacuity"

    def failed_problem(self, op: Op) -> str:
        """Return the problem that the variant failed at, as the line that `Problem` prints; "" where it names none."""
        try:
            words = shlex.split(self.reproduce)
            return str(parse_problem(op, words[words.index("--problem") + 1]))
        except (ValueError, IndexError, CrucibleError):
            return ""


def standing(fresh: Iterable[Evidence], op: Op) -> tuple[Evidence | None, list[Evidence]]:
    """Return which of the fresh evidence about one variant counts, and the failures that stand.

    A failure stands until a whole proof that asks the failed problem again passes: another seed or fewer problems do not
    undo it. The verdict of a race stands until the source changes. Where no
    failure stands, the newest proof that passed counts; where none passed, the newest of any kind.

    Parameters
    ----------
    fresh : iterable of Evidence
        About one variant on one device, oldest first.
    """
    counts: Evidence | None = None
    failures: list[Evidence] = []
    for one in fresh:
        if one.is_failure:
            failures.append(one)
        elif one.status == "passed":
            failures = [f for f in failures if f.revokes or (line := f.failed_problem(op)) == "" or line not in one.rechecked]
            counts = one
        elif counts is None or counts.status != "passed":
            counts = one
    if failures:
        counts = next((one for one in reversed(failures) if one.revokes), failures[-1])
    return counts, failures


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
