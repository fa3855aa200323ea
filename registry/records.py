"""The records in ``results/<machine>/``: what the harness writes and the trainer reads. Append-only JSON lines.

``evidence.jsonl`` holds proofs, ``runs.jsonl`` races; ``champions.json`` is derived from both and never typed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from registry.devices import kind_of
from registry.errors import CrucibleError, EvidenceError
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from registry.comparison import Comparison
    from registry.variant import Variant

__all__ = ["RESULTS", "Champion", "Evidence", "Record", "Row", "Run", "Store", "now"]

RESULTS = ROOT / "results"


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
        The gate that rejected it; "" if it passed.
    worst_over_budget : float
        Largest error divided by what the error law allows; at most 1 if it passed.
    mutation_score : float
        Share of the null kernels that the drawn problems would have caught.
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
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

    def is_fresh(self, variant: Variant) -> bool:
        """Whether this still speaks of `variant` as it is now, on this machine with these libraries."""
        return (
            (self.op, self.variant) == (variant.op.name, variant.name)
            and self.source == source_hash(variant)
            and self.contract == contract_hash(variant.op)
            and self.machine == machine_key(self.device)
            and self.versions == versions(self.device)
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


class Store:
    """The folder of one machine's records.

    Parameters
    ----------
    root : Path
        The results folder; records lie in ``root/<machine>``.
    """

    def __init__(self, root: Path = RESULTS, machine: str | None = None) -> None:
        self.folder = root / (machine or machine_key())

    def _lines(self, name: str) -> Iterable[dict[str, Any]]:
        path = self.folder / name
        if not path.exists():
            return
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise CrucibleError(f"{path}:{number} is not a JSON line ({error.msg}); mend or delete that line") from error

    def _append(self, name: str, records: Iterable[Record]) -> None:
        lines = "".join(json.dumps(r.to_json(), sort_keys=True) + "\n" for r in records)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / name).open("a") as file:
                file.write(lines)
        except OSError as error:
            raise CrucibleError(f"cannot write {self.folder / name}: {error.strerror}") from error

    def evidence(self) -> list[Evidence]:
        """Return all proofs, oldest first."""
        return [Evidence.from_json(line) for line in self._lines("evidence.jsonl")]

    def runs(self) -> list[Run]:
        """Return all races, oldest first."""
        return [Run.from_json(line) for line in self._lines("runs.jsonl")]

    def champions(self) -> list[Champion]:
        """Return the derived champions; none if the board was never derived."""
        path = self.folder / "champions.json"
        return [Champion.from_json(c) for c in json.loads(path.read_text())] if path.exists() else []

    def add_evidence(self, *records: Evidence) -> None:
        """Append proofs."""
        self._append("evidence.jsonl", records)

    def add_run(self, *records: Run) -> None:
        """Append races."""
        self._append("runs.jsonl", records)

    def comparisons(self) -> list[Comparison]:
        """Return all comparisons at the shapes of training runs, oldest first."""
        from registry.comparison import Comparison  # it is a `Record`, so it imports this module

        return [Comparison.from_json(line) for line in self._lines("comparisons.jsonl")]

    def add_comparisons(self, *records: Comparison) -> None:
        """Append comparisons at the shapes of training runs."""
        self._append("comparisons.jsonl", records)

    def write_champions(self, champions: Iterable[Champion]) -> None:
        """Replace the derived champions, whole or not at all."""
        path = self.folder / "champions.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".tmp")
            draft.write_text(json.dumps([c.to_json() for c in champions], indent=1, sort_keys=True) + "\n")
            draft.replace(path)
        except OSError as error:
            raise CrucibleError(f"cannot write {path}: {error.strerror}") from error

    def proof(self, variant: Variant, device: str = "") -> Evidence | None:
        """Return the newest fresh evidence about `variant`, passed or not; None if there is none.

        Parameters
        ----------
        device : str
            ``host``, ``sim`` or ``cuda``; default: where the variant runs on a machine without a GPU.
        """
        device = device or kind_of(variant)
        fresh = [e for e in self.evidence() if e.device == device and e.is_fresh(variant)]
        return fresh[-1] if fresh else None

    def require_proof(self, variant: Variant, device: str = "") -> Evidence:
        """Return fresh evidence that `variant` passed.

        Parameters
        ----------
        device : str
            As for `proof`.

        Raises
        ------
        EvidenceError
            There is none; the message holds the command that would make it.
        """
        device = device or kind_of(variant)
        command = f"python -m harness.verify --op {variant.op.name} --variant {variant.name}"
        if device != "host":
            command += f" --device {device}"
        proof = self.proof(variant, device)
        if proof is None:
            raise EvidenceError(f"{variant} has no fresh evidence on this machine; make it with: {command}")
        if proof.status != "passed":
            raise EvidenceError(f"{variant} {proof.status} at gate {proof.gate!r}; see: {command}")
        return proof
