"""Who takes part in one board: the proven variants and the yardsticks; and the record of what they did."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from harness.race import roofline
from harness.race.board import YARDSTICK
from harness.race.rounds import Entry
from harness.race.statistics import summarise
from registry.fingerprint import source_hash
from registry.machine import machine_key, versions
from registry.records import Row, Run
from registry.table import ROOT

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
    """The field of one board.

    Attributes
    ----------
    candidates : list of Variant
        Proven variants that take this problem.
    definition : Variant or None
        The plain definition, if it is proven.
    refused : list of Row
        Those that do not take part, and why.
    named : bool
        Whether the request named any variant of this op.
    """

    board: Board
    named: bool
    candidates: list[Variant] = field(default_factory=list)
    definition: Variant | None = None
    refused: list[Row] = field(default_factory=list)

    def entries(self, session: Session) -> list[Entry]:
        """Return the contestants, each with a process of its own."""
        variants = [*self.candidates, *([self.definition] if self.definition else [])]
        found = [
            Entry(v.name, session.process(i), variant=v.name, yardstick=v.is_reference, source=source_hash(v))
            for i, v in enumerate(variants)
        ]
        if not session.has_yardstick:
            return found
        torch = Entry(YARDSTICK, session.torch, kind="torch", yardstick=True, source=f"torch {version('torch')}")
        return [*found, torch]

    def run(self, session: Session, entries: list[Entry]) -> Run:
        """Return the record of a race that has been run; what beats the roofline is ``implausible`` and loses its time."""
        board = self.board

        def floor() -> float:
            return roofline.floor_ms(session.roof, board.flops, board.moved)

        def impossible(entry: Entry) -> bool:
            return bool(entry.samples_ms) and roofline.is_impossible(summarise(entry.samples_ms).median, floor())

        for _ in range(MEASURED_AGAIN):  # a roofline that was measured while the machine was busy must not refute a time
            if any(map(impossible, entries)):
                session.measure_roofline(again=True)
        for entry in filter(impossible, entries):
            median = summarise(entry.samples_ms).median
            entry.note = f"{median:.4g} ms is less than the {floor():.4g} ms that the measured roofline allows"
            entry.status, entry.samples_ms = "implausible", []
        rows = [
            Row(variant=e.name, source=e.source, status=e.status, yardstick=e.yardstick, samples_ms=e.samples_ms, note=e.note)
            for e in entries
        ]
        return Run(
            op=board.op.name, workload=board.workload, dims=board.dims, params=board.params, protocol=session.protocol,
            threads=session.threads, rows=[*rows, *self.refused], controls=session.controls,
            roofline={**session.roof, "floor_ms": floor()}, dtype=board.dtype, commit=commit(),
            device=session.place, machine=machine_key(session.place), versions=versions(session.place),
        )  # fmt: skip


def field_for(board: Board, table: Table, chosen: list[Variant], gap: Callable[[Variant], str], place: str = "host") -> Field:
    """Sort the variants of an op into those that race on `board` and those that do not, with reasons.

    Parameters
    ----------
    chosen : list of Variant
        Those that the request stands for.
    gap : callable
        Returns what is missing in the evidence about a variant, or "".
    place : str
        Where the race is: on ``host`` the definition takes part, on ``cuda`` it cannot.
    """
    everyone = [v for v in chosen if not v.is_reference]
    found = Field(board, named=bool(chosen))
    definition = [table.variants[board.op.name]["numpy"]] if place == "host" else []
    for variant in [*everyone, *definition]:
        status, note = _obstacle(variant, board, gap, place)
        if status:
            row = Row(
                variant=variant.name, source=source_hash(variant), status=status, yardstick=variant.is_reference, note=note
            )
            found.refused.append(row)
        elif variant.is_reference:
            found.definition = variant
        else:
            found.candidates.append(variant)
    for broken in table.unloadable_of([board.op]):
        if broken.op == board.op.name and broken.name not in table.variants[board.op.name]:  # one row for each name
            found.refused.append(Row(variant=broken.name, source="", status="unloadable", note=broken.reason))
    return found


def _obstacle(variant: Variant, board: Board, gap: Callable[[Variant], str], place: str) -> tuple[str, str]:
    if variant.device != place:
        return "unavailable", f"needs device {variant.device}"
    if reasons := variant.refusals(board.dims, board.params, board.dtype):
        return "refused", "; ".join(reasons)
    missing = gap(variant)
    return ("unproven", missing) if missing else ("", "")


@cache
def commit() -> str:
    """Return the revision of the project as git describes it; "" where there is no git."""
    git = shutil.which("git")
    if git is None:
        return ""
    found = subprocess.run([git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()
