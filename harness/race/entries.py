"""The contestants of one board, which are the proven variants and the baselines; and the record of their race."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from harness.race import roofline
from harness.race.board import BASELINE
from harness.race.rounds import Entry
from harness.race.statistics import summarise
from registry.enums import Device, Status
from registry.fingerprint import source_hash
from registry.machine import machine_key, versions
from registry.paths import ROOT
from registry.records import Row, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.race.board import Board
    from harness.race.session import Session
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["Field", "commit", "field_for"]

MEASURED_AGAIN = 2


@dataclass
class Field:
    """The variants that are raced on one board, and the variants that are not.

    Attributes
    ----------
    candidates : list of Variant
        Proven variants that take this problem.
    reference : Variant or None
        The numpy reference, if it is proven.
    refused : list of Row
        The variants that are not raced, each with the reason.
    named : bool
        Whether the request named any variant of this op.
    """

    board: Board
    named: bool
    candidates: list[Variant] = field(default_factory=list)
    reference: Variant | None = None
    refused: list[Row] = field(default_factory=list)

    def entries(self, session: Session) -> list[Entry]:
        """Return the contestants, each with a process of its own."""
        variants = [*self.candidates, *([self.reference] if self.reference else [])]
        entries = [
            Entry(v.name, session.process(i), variant=v.name, baseline=v.is_reference, source=source_hash(v))
            for i, v in enumerate(variants)
        ]
        if not session.has_baseline:
            return entries
        torch = Entry(BASELINE, session.torch, kind="torch", baseline=True, source=f"torch {version('torch')}")
        return [*entries, torch]

    def run(self, session: Session, entries: list[Entry]) -> Run:
        """Return the record of a finished race; an impossible time makes an entry ``implausible`` and is removed."""
        board = self.board

        def floor() -> float:
            return roofline.floor_ms(session.roof, board.flops, board.moved)

        def impossible(entry: Entry) -> bool:
            return bool(entry.samples_ms) and roofline.is_impossible(summarise(entry.samples_ms).median, floor())

        for _ in range(MEASURED_AGAIN):  # the roofline may be too low because the machine was busy when it was measured
            if any(map(impossible, entries)):
                session.measure_roofline(again=True)
        for entry in filter(impossible, entries):
            median = summarise(entry.samples_ms).median
            entry.note = f"{median:.4g} ms is less than the {floor():.4g} ms that the measured roofline allows"
            entry.status, entry.samples_ms = Status.IMPLAUSIBLE, []
        rows = [
            Row(variant=e.name, source=e.source, status=e.status, baseline=e.baseline, samples_ms=e.samples_ms, note=e.note)
            for e in entries
        ]
        return Run(
            op=board.op.name, workload=board.workload, dims=board.dims, params=board.params, protocol=session.protocol,
            threads=session.threads, rows=[*rows, *self.refused], controls=session.controls,
            roofline={**session.roof, "floor_ms": floor()}, dtype=board.dtype, commit=commit(),
            device=session.place, machine=machine_key(session.place), versions=versions(session.place),
        )  # fmt: skip


def field_for(
    board: Board, table: Table, chosen: list[Variant], gap: Callable[[Variant], str], place: Device = Device.CPU
) -> Field:
    """Return the variants of an op that race on `board`, and the variants that do not, with the reasons.

    Parameters
    ----------
    chosen : list of Variant
        The variants that the request selects.
    gap : callable
        Returns the reason why a variant has no fresh evidence; "" if it has.
    place : Device
        The device of the race: the numpy reference takes part on the CPU only.
    """
    others = [v for v in chosen if not v.is_reference]
    result = Field(board, named=bool(chosen))
    reference = [table.variants[board.op.name]["numpy"]] if place == Device.CPU else []
    for variant in [*others, *reference]:
        status, note = _obstacle(variant, board, gap, place)
        if status != Status.PASSED:
            row = Row(
                variant=variant.name, source=source_hash(variant), status=status, baseline=variant.is_reference, note=note
            )
            result.refused.append(row)
        elif variant.is_reference:
            result.reference = variant
        else:
            result.candidates.append(variant)
    for broken in table.unloadable_of([board.op]):
        if broken.op == board.op.name and broken.name not in table.variants[board.op.name]:  # one row for each name
            result.refused.append(Row(variant=broken.name, source="", status=Status.UNLOADABLE, note=broken.reason))
    return result


def _obstacle(variant: Variant, board: Board, gap: Callable[[Variant], str], place: Device) -> tuple[Status, str]:
    if variant.device != place:
        return Status.UNAVAILABLE, f"needs device {variant.device}"
    if reasons := variant.refusals(board.dims, board.params, board.dtype):
        return Status.REFUSED, "; ".join(reasons)
    missing = gap(variant)
    return (Status.UNPROVEN, missing) if missing else (Status.PASSED, "")


@cache
def commit() -> str:
    """Return the revision of the project as ``git describe`` prints it; "" without git."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run([git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
