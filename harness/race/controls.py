"""The controls of a session: what the race must read on contestants whose times are known relative to each other."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from harness.race.board import Board, params_for, shrunken, typical_dims
from harness.race.contestant_process import ContestantError
from harness.race.rounds import Entry, Race
from harness.race.statistics import summarise
from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.race.session import Session
    from registry.op import Op
    from registry.variant import Variant

__all__ = ["BANDS", "ControlsError", "check_controls"]

WORK = 4e6
ROUNDS, ATTEMPTS = 25, 4
ROLES = (("variant", "a"), ("variant", "b"), ("twice", "twice"), ("empty", "floor"))
BANDS = {"a_a": (0.93, 1.07), "twice": (1.8, 2.2)}
COLD_BANDS = {**BANDS, "cold_over_warm": (1.2, float("inf"))}


class ControlsError(CrucibleError):
    """The controls of a session read what they must not: nothing that it would measure can be believed."""


def check_controls(
    session: Session, variants: Sequence[Variant], progress: Callable[[str, float], None], dtype: str = "float32"
) -> None:
    """Race the first of `variants` that runs against itself, against itself called twice, and time an empty call.

    The shape is one on which a call is neither so short that the clock shows nor long. A neighbour on the machine may
    spoil one attempt; `session.controls` holds the values of the last.

    Raises
    ------
    ControlsError
        The values stay outside their bands in every attempt.
    """
    waiting = list(variants)
    small = shrunken(waiting[0].op, typical_dims(waiting[0].op), WORK)
    bands = COLD_BANDS if session.protocol == "cpu-cold" else BANDS
    told = ""
    for attempt in range(ATTEMPTS):
        progress("controls: two copies, one called twice, an empty call", attempt / ATTEMPTS)
        while True:
            try:
                session.controls = _measure(session, waiting[0], small, dtype)
                break
            except ContestantError as error:
                broken = waiting.pop(0)
                if not waiting:
                    raise ControlsError(f"no control could be raced: {broken} {error.status}: {error}") from error
        outside = [name for name, (low, high) in bands.items() if not low <= session.controls[name] <= high]
        if not outside:
            return
        told = ", ".join(f"{name} reads {session.controls[name]:.3f}, allowed {bands[name]}" for name in outside)
    raise ControlsError(f"the controls failed {ATTEMPTS} times, so nothing was stored: {told}; try again on a quieter machine")


def _measure(session: Session, variant: Variant, dims: dict[str, int], dtype: str) -> dict[str, float]:
    op: Op = variant.op
    board = Board(op, "controls", dims, params_for(op, dims), dtype, session.folder / "controls")
    entries = [Entry(name, session.process(i), kind=kind, variant=variant.name) for i, (kind, name) in enumerate(ROLES)]
    race = Race(session, board, entries, session.set_count(board), tight=False)
    session.draw(board)
    try:
        for entry in entries:
            session.load(entry, op, dims, dtype=dtype)
            race.prepare(entry)
            race.estimate(entry)
        for _ in range(ROUNDS):
            race.round(entries, look=False)
    finally:
        shutil.rmtree(board.folder, ignore_errors=True)
    for entry in entries:
        if not entry.racing:
            raise ContestantError(entry.status, entry.note)
    first, second, double, empty = (summarise(e.samples_ms).lower_quartile for e in entries)
    found = {"a_a": first / second, "twice": 2 * double / (first + second), "floor_us": empty * 1e3}
    if session.protocol == "cpu-cold":
        found["cold_over_warm"] = float(entries[0].process.ask("memory", cache_bytes=session.cache_bytes)["ratio"])
    return found
