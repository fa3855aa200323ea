"""The outcome of the races of one command: records of times and evidence against variants, each stored at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.race.refutation import refutations
from registry.enums import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.race.board import Board
    from registry.enums import Device
    from registry.errors import CrucibleError
    from registry.records import Evidence, Run, Store
    from registry.table import Table

__all__ = ["BROKEN", "Outcome"]

BROKEN = (Status.WRONG, Status.UNCHECKED, Status.FAILED, Status.CRASHED, Status.HUNG)  # statuses of rows that make a race fail


@dataclass
class Outcome:
    """The records of one command.

    Attributes
    ----------
    store : Store or None
        With None, nothing is stored.
    place : Device
        The device of the races: ``cpu`` or ``cuda``.
    refused : list of CrucibleError
        The reasons why races gave no record of times.
    """

    table: Table
    store: Store | None
    place: Device
    kernels_path: list[Path]
    runs: list[Run] = field(default_factory=list)
    refuted: list[Evidence] = field(default_factory=list)
    refused: list[CrucibleError] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Add the record of a race and store it."""
        self.runs.append(run)
        if self.store is not None:
            self.store.add_run(run)

    def refute(self, board: Board, seen: Iterable[tuple[str, Status, str]]) -> None:
        """Add and store the evidence against variants, given the name, status and note of each contestant of a race."""
        against = refutations(board, seen, self.table.variants[board.op.name], self.place, self.kernels_path)
        self.refuted += against
        if self.store is not None and against:
            self.store.add_evidence(*against)
