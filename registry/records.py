"""The records in ``results/<machine>/``: what the harness writes and the trainer reads. Append-only JSON lines.

``evidence.jsonl`` holds proofs, ``runs.jsonl`` races; ``champions.json`` is derived from both and never typed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from registry.devices import kind_of
from registry.errors import CrucibleError, EvidenceError
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.problem import parse_problem
from registry.profiles import fewest_problems
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from registry.op import Op
    from registry.variant import Variant

__all__ = ["RESULTS", "Champion", "Evidence", "Row", "Run", "Store", "standing"]

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
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused`` (no drawn problem was supported), ``partial`` (nothing
        failed, but too few problems were asked for anybody to rely on it), or what the simulator found: ``race``,
        ``out_of_bounds``, ...
    gate : str
        The gate that rejected it; "" if it passed.
    worst_over_budget : float
        Largest error divided by what the error law allows; at most 1 if it passed.
    mutation_score : float
        Share of the null kernels that the drawn problems would have caught.
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
    undo it. Where none stands, the newest proof that passed counts; where none passed, the newest of any kind.

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
            failures = [f for f in failures if (line := f.failed_problem(op)) == "" or line not in one.rechecked]
            counts = one
        elif counts is None or counts.status != "passed":
            counts = one
    return (failures[-1] if failures else counts), failures


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
        """Return the fresh evidence about `variant` that counts, passed or not, as `standing` says; None if there is none.

        Parameters
        ----------
        device : str
            ``host``, ``sim`` or ``cuda``; default: where the variant runs on a machine without a GPU.
        """
        return standing(self._fresh([variant], device or kind_of(variant))[str(variant)], variant.op)[0]

    def failures(self, variants: Sequence[Variant], device: str) -> list[list[Evidence]]:
        """Return, per variant, the failures on one device that still stand, as `standing` says."""
        fresh = self._fresh(variants, device)
        return [standing(fresh[str(v)], v.op)[1] for v in variants]

    def proven(self, variants: Sequence[Variant], device: str) -> list[Variant]:
        """Return those of `variants` that are proven on `device`; otherwise as `proof`, for many in one go."""
        fresh = self._fresh(variants, device)
        counting = ((v, standing(fresh[str(v)], v.op)[0]) for v in variants)
        return [v for v, proof in counting if proof is not None and proof.status == "passed"]

    def _fresh(self, variants: Sequence[Variant], device: str) -> dict[str, list[Evidence]]:
        """Return the fresh evidence about each variant on one device, oldest first."""
        about: dict[str, list[Evidence]] = {str(v): [] for v in variants}
        for evidence in self.evidence():
            if evidence.device == device and (name := f"{evidence.op}/{evidence.variant}") in about:
                about[name].append(evidence)
        for variant in variants:
            if found := about[str(variant)]:
                hashes = source_hash(variant), contract_hash(variant.op)
                about[str(variant)] = [e for e in found if e.speaks_of(*hashes)]
        return about

    def require_proof(self, variant: Variant, device: str = "") -> Evidence:
        """Return fresh evidence that `variant` passed a whole proof, and no failure that still stands.

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
        if proof.status == "partial":
            least = fewest_problems(proof.profile)
            raise EvidenceError(
                f"{variant} passed a partial proof only: {proof.problems} problems under profile {proof.profile} "
                f"(at least {least}, drawn ones among them); make a whole one with: {command}"
            )
        if proof.status != "passed":
            raise EvidenceError(f"{variant} {proof.status} at gate {proof.gate!r}; see: {command}")
        return proof
