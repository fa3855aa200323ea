"""Refutation by a race: evidence against a proven variant that had wrong outputs, raised or crashed at the raced shape.

The record is evidence with the gate ``race``. It revokes the proof of the same source for every reader. A later proof does not
restore it: the battery passed this source before, and may miss the fault again. Only a change of the source allows a new proof.

Some failures come from the machine and refute nothing: too little memory, a full disk, a signal from outside, or a time limit,
which a busy machine may exceed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.commands import Folders, pasted
from registry.enums import Device, Status
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.problem import Problem
from registry.records import RACE, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness.race.board import Board
    from registry.variant import Variant

__all__ = ["refutation", "refutations"]

REFUTING = (Status.WRONG, Status.FAILED, Status.CRASHED)
CIRCUMSTANCES = ("MemoryError", "OutOfMemoryError", "OSError", "cudaErrorMemoryAllocation", "SIGKILL", "SIGTERM")


def refutation(
    variant: Variant, board: Board, status: Status, note: str, place: Device, kernels_path: Iterable[Path] = ()
) -> Evidence | None:
    """Return the evidence that a race at `board` refuted `variant`; None if it did not.

    Parameters
    ----------
    status, note : str
        The status and the note of the variant's row in the race.
    place : Device
        The device of the race: ``cpu`` or ``cuda``.
    """
    if status not in REFUTING or any(word in note for word in CIRCUMSTANCES):
        return None
    problem = Problem(board.op.name, board.dims, board.params, dtype=board.dtype)
    words = ["--op", board.op.name, "--variant", variant.name, *Folders(tuple(kernels_path)).words()]
    words += [] if place == Device.CPU else ["--device", place]
    reproduce = pasted("harness.verify", *words, "--problem", str(problem))
    return Evidence(
        op=board.op.name, variant=variant.name, source=source_hash(variant), contract=contract_hash(board.op), status=status,
        gate=RACE, device=place, profile=RACE, problems=1, reproduce=reproduce, note=note,
        machine=machine_key(place), versions=versions(place),
    )  # fmt: skip


def refutations(
    board: Board,
    seen: Iterable[tuple[str, Status, str]],
    variants: Mapping[str, Variant],
    place: Device,
    kernels_path: Iterable[Path],
) -> list[Evidence]:
    """Return the evidence against the variants that a race at `board` refuted.

    Parameters
    ----------
    seen : iterable of (name, status, note)
        The result of each contestant.
    variants : mapping of str to Variant
        By name; a contestant of another name, such as torch, is left out.
    """
    known = [(variants[name], status, note) for name, status, note in seen if name in variants]
    records = (refutation(variant, board, status, note, place, kernels_path) for variant, status, note in known)
    return [evidence for evidence in records if evidence is not None]
