"""The records in ``results/``, which the harness writes and the trainer reads.

``evidence.jsonl`` holds proofs and ``runs.jsonl`` holds races, as append-only JSON lines. ``champions.json`` is derived from
both and never edited. Records in ``results/<machine>/`` are tracked by git and belong to the project. Records in
``results/local/<machine>/`` are not tracked and belong to the user.
"""

from __future__ import annotations

import heapq
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from registry.commands import Folders, folder_of, pasted
from registry.comparison import Comparison
from registry.devices import kind_of
from registry.enums import Device, Status
from registry.errors import CrucibleError, EvidenceError
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key
from registry.paths import RESULTS
from registry.profiles import fewest_problems
from registry.record_base import Record
from registry.record_files import (
    DERIVED_AGAIN,
    Stamp,
    append_lines,
    digest,
    read_document,
    read_lines,
    replace_lines,
    stamp,
    write_document,
)
from registry.record_kinds import RACE, Champion, Evidence, Row, Run, standing
from registry.record_schema import UPGRADE, NewerSchemaError
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from registry.variant import Variant

__all__ = ["RACE", "Champion", "Evidence", "Row", "Run", "Store", "revocation", "standing"]

LOCAL = "local"  # the sub-folder of RESULTS that git ignores


R = TypeVar("R", bound=Record)
K = TypeVar("K")
T = TypeVar("T")


class Store:
    """The records of one machine.

    The default folder, `RESULTS`, has two parts: the tracked records in ``results/<machine>/`` and the user's own in
    ``results/local/<machine>/``. A store reads both, in the order of their dates, and writes to the user's own.

    Parameters
    ----------
    root : Path
        The results folder. A folder other than `RESULTS` has one part: ``root/<machine>``.
    machine : str, optional
        Default: this machine.
    keep : bool
        Read and write only the tracked records.

    Attributes
    ----------
    folder : Path
        The folder to which records are written.
    folders : tuple of Path
        The folders from which records are read, the tracked folder first.
    """

    def __init__(self, root: Path = RESULTS, machine: str | None = None, *, keep: bool = False) -> None:
        name = machine or machine_key()
        usual = root.resolve() == RESULTS.resolve()
        self.root = root
        self.folders = (root / name, root / LOCAL / name) if usual and not keep else (root / name,)
        self.folder = self.folders[-1]
        self._cache: dict[tuple[str, ...], tuple[list[Stamp], Any]] = {}

    def _cached(self, key: tuple[str, ...], paths: Iterable[Path], read: Callable[[], T]) -> T:
        """Return the result of `read`, which reads some files. The result is cached until one of the files changes."""
        stamps = [stamp(path) for path in paths]
        known = self._cache.get(key)
        if known is None or known[0] != stamps:
            known = self._cache[key] = stamps, read()
        value: T = known[1]
        return value

    def _paths(self, name: str) -> list[Path]:
        return [folder / name for folder in self.folders]

    def _records(self, name: str, kind: type[R]) -> list[R]:
        """Return the records of one file name in all folders, oldest first."""
        paths = self._paths(name)

        def read() -> list[R]:
            parts = ([_record(kind, place, line) for place, line in read_lines(path)] for path in paths)
            return list(heapq.merge(*parts, key=attrgetter("created")))

        return self._cached((name, kind.__name__), paths, read)

    def _indexed(self, name: str, kind: type[R], key: Callable[[R], K]) -> dict[K, list[R]]:
        """Return the records of one file name by a key, oldest first."""

        def index() -> dict[K, list[R]]:
            by_key: dict[K, list[R]] = {}
            for record in self._records(name, kind):
                by_key.setdefault(key(record), []).append(record)
            return by_key

        return self._cached((name, "index"), self._paths(name), index)

    def _append(self, name: str, records: Iterable[Record]) -> None:
        append_lines(self.folder / name, (record.to_json() for record in records))

    def evidence(self) -> list[Evidence]:
        """Return all proofs, oldest first."""
        return list(self._records("evidence.jsonl", Evidence))

    def runs(self) -> list[Run]:
        """Return all races, oldest first."""
        return list(self._records("runs.jsonl", Run))

    def runs_of(self, op: str) -> list[Run]:
        """Return all races of one op, oldest first."""
        return list(self._indexed("runs.jsonl", Run, attrgetter("op")).get(op, []))

    def read(self, name: str, kind: type[R]) -> list[R]:
        """Return the records of the file called `name`, oldest first. Their kind has a field `created`."""
        return list(self._records(name, kind))

    def add(self, name: str, *records: Record) -> None:
        """Append records of any kind to the file called `name`."""
        self._append(name, records)

    def add_evidence(self, *records: Evidence) -> None:
        """Append proofs."""
        self._append("evidence.jsonl", records)

    def add_run(self, *records: Run) -> None:
        """Append races."""
        self._append("runs.jsonl", records)

    def comparisons(self) -> list[Comparison]:
        """Return all comparisons at the shapes of training runs, oldest first."""
        return list(self._records("comparisons.jsonl", Comparison))

    def add_comparisons(self, *records: Comparison) -> None:
        """Append comparisons at the shapes of training runs."""
        self._append("comparisons.jsonl", records)

    def champions(self) -> list[Champion]:
        """Return the derived champions; none if they were never derived.

        The user's champions are derived from tracked and own records. After a change of the tracked records (by ``git pull``,
        for instance) the tracked champions count, and the user's champions count only for other calls.
        """
        paths = self._paths("champions.json")
        derived = [*paths, *(self._tracked_files() if len(paths) > 1 else ())]
        return list(self._cached(("champions.json",), derived, lambda: self._read_champions(paths)))

    def _read_champions(self, paths: list[Path]) -> list[Champion]:
        first, *own = map(read_document, paths)
        tracked = _champions(paths[0], first or [])
        if not own or own[0] is None:
            return tracked
        if not isinstance(own[0], dict):
            raise CrucibleError(f"{paths[1]} is no document of champions; {DERIVED_AGAIN}")
        champions = _champions(paths[1], own[0].get("champions"))
        if own[0].get("derived_from") == self._tracked_digest():
            return champions
        known = {champion.key for champion in tracked}
        return [*tracked, *(champion for champion in champions if champion.key not in known)]

    def write_champions(self, champions: Iterable[Champion]) -> None:
        """Replace the derived champions in one step."""
        content: object = [c.to_json() for c in champions]
        if len(self.folders) > 1:
            content = {"derived_from": self._tracked_digest(), "champions": content}
        write_document(self.folder / "champions.json", content)

    def _tracked_files(self) -> list[Path]:
        return [self.folders[0] / name for name in ("evidence.jsonl", "runs.jsonl")]

    def _tracked_digest(self) -> str:
        """Return a hash of the tracked records."""
        paths = self._tracked_files()
        return self._cached(("digest",), paths, lambda: digest(paths))

    def _evidence_index(self) -> dict[tuple[str, str, Device], list[Evidence]]:
        """Return the proofs by op, variant and device, oldest first."""
        return self._indexed("evidence.jsonl", Evidence, attrgetter("op", "variant", "device"))

    def newest_proofs(self, device: Device) -> dict[tuple[str, str], Evidence]:
        """Return, per op and variant, the evidence that counts for the newest source, fresh or stale."""
        ops = discover().ops
        newest = {}
        for (op, variant, place), known in self._evidence_index().items():
            same = [e for e in known if e.source == known[-1].source]
            if place == device and op in ops and (counts := standing(same, ops[op])[0]) is not None:
                newest[op, variant] = counts
        return newest

    def compact_evidence(self) -> tuple[int, int]:
        """Keep the evidence that counts for the newest source of each variant and device, and drop the rest.

        Failures that still stand, and races that refuted any source of a variant, are kept as well.

        Returns
        -------
        tuple of int
            Number of records before and after.
        """
        path, ops = self.folder / "evidence.jsonl", discover().ops
        lines = [line for _, line in read_lines(path)]
        about: dict[tuple[str, str, str], list[tuple[int, Evidence]]] = {}
        for number, line in enumerate(lines):
            evidence = _record(Evidence, f"{path}:{number + 1}", line)
            about.setdefault((evidence.op, evidence.variant, evidence.device), []).append((number, evidence))
        kept: set[int] = set()
        for (op, _, _), known in about.items():
            newest = known[-1][1]
            same = [
                (n, e)
                for n, e in known
                if (e.source, e.contract, e.versions) == (newest.source, newest.contract, newest.versions)
            ]
            counts, failures = standing([e for _, e in same], ops[op]) if op in ops else (newest, [])
            kept |= {n for n, e in known if e.revokes or e is counts or any(e is failure for failure in failures)}
        replace_lines(path, (line for number, line in enumerate(lines) if number in kept))
        return len(lines), len(kept)

    def proof(self, variant: Variant, device: Device | None = None) -> Evidence | None:
        """Return the evidence that counts for the present sources of `variant` by the rules of `standing`; None without any.

        Parameters
        ----------
        device : Device
            Default: the device of the variant on a machine without a GPU.
        """
        return standing(self._fresh(variant, device or kind_of(variant)), variant.op)[0]

    def failures(self, variants: Sequence[Variant], device: Device) -> list[list[Evidence]]:
        """Return, per variant, the failures on one device that are valid by the rules of `standing`."""
        return [standing(self._fresh(v, device), v.op)[1] for v in variants]

    def proven(self, variants: Sequence[Variant], device: Device) -> list[Variant]:
        """Return the members of `variants` that are proven on `device`."""
        return [v for v in variants if (proof := self.proof(v, device)) is not None and proof.status == Status.PASSED]

    def _fresh(self, variant: Variant, device: Device) -> list[Evidence]:
        """Return the fresh evidence about a variant on one device, with each race that refuted its source, oldest first."""
        known = self._evidence_index().get((variant.op.name, variant.name, device))
        if not known:
            return []
        source, contract = source_hash(variant), contract_hash(variant.op)
        return [e for e in known if e.matches(source, contract) or (e.revokes and e.source == source)]

    def require_proof(self, variant: Variant, device: Device | None = None) -> Evidence:
        """Return fresh evidence that `variant` passed a whole proof, if no failure is valid.

        Parameters
        ----------
        device : Device
            The same as for `proof`.

        Raises
        ------
        EvidenceError
            There is no such evidence, and the message holds the command to make it; or a proof or race rejected the variant.
        """
        device = device or kind_of(variant)
        words = ["--op", variant.op.name, "--variant", variant.name, *(() if device == Device.CPU else ("--device", device))]
        command = pasted("harness.verify", *words, folders=Folders(folder_of([variant.path]), self.root))
        proof = self.proof(variant, device)
        if proof is None:
            raise EvidenceError(f"{variant} has no fresh evidence on this machine; make it with: {command}")
        if proof.revokes:
            raise EvidenceError(revocation(variant, proof))
        if proof.status == Status.PARTIAL:
            least = fewest_problems(proof.profile)
            raise EvidenceError(
                f"{variant} passed only a partial proof: {proof.problems} problems under profile {proof.profile} "
                f"(a whole proof has at least {least}, some of them drawn); make a whole one with: {command}"
            )
        if proof.status != Status.PASSED:
            raise EvidenceError(f"{variant} {proof.status} at gate {proof.gate!r}; see: {command}")
        return proof


def revocation(variant: Variant, record: Evidence) -> str:
    """Return the message about a variant that a race refuted."""
    return (
        f"{variant}: a race on {record.created[:10]} refuted it ({record.status}: {record.note}), "
        f"so its proof is revoked until its source changes; see: {record.reproduce}"
    )


def _champions(path: Path, lines: object) -> list[Champion]:
    try:
        return [Champion.from_json(line) for line in cast("list[dict[str, Any]]", lines)]
    except NewerSchemaError as error:
        raise CrucibleError(f"{path}: {error}; {UPGRADE}") from error
    except (TypeError, KeyError, AttributeError, CrucibleError) as error:
        raise CrucibleError(f"{path} is no document of champions ({error}); {DERIVED_AGAIN}") from error


def _record(kind: type[R], place: str, line: Mapping[str, Any]) -> R:
    try:
        return kind.from_json(line)
    except NewerSchemaError as error:
        raise CrucibleError(f"{place}: {error}; {UPGRADE}") from error
    except (TypeError, KeyError, AttributeError, CrucibleError) as error:
        raise CrucibleError(f"{place} is no record of {kind.__name__.lower()} ({error}); mend or delete that line") from error
