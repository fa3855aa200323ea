"""The controls of a session: a race of contestants whose times are known relative to each other.

The controls include the share of a core that each thread of the race gets. The variant that is raced against itself may use one
thread only, so its times may not show that another process computes on a second core.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from harness.race.board import Board, params_for, shrunken, typical_dims
from harness.race.contestant_process import ContestantError
from harness.race.quiet import load_seen
from harness.race.rounds import Entry, Race
from harness.race.statistics import summarise
from registry.enums import Device
from registry.errors import CrucibleError, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.race.session import Session
    from registry.op import Op
    from registry.variant import Variant

__all__ = ["BANDS", "SHARE", "ControlsError", "check_controls", "check_quiet", "is_quiet"]

WORK = 4e6
ROUNDS, ATTEMPTS = 25, 4
ROLES = (("variant", "a"), ("variant", "b"), ("twice", "twice"), ("empty", "floor"))
SHARE = "core_share"
BANDS = {"a_a": (0.93, 1.07), "twice": (1.8, 2.2), SHARE: (0.9, float("inf"))}
COLD_BAND = (1.2, float("inf"))
WAIT_S = 1.0  # between two attempts on a busy machine


class ControlsError(CrucibleError):
    """The controls of a session read values outside their bands, so its times would not be trustworthy."""

    error_kind = ErrorKind.BUSY


def _bands(session: Session) -> dict[str, tuple[float, float]]:
    """Return the allowed band of each control; on a GPU there is no band for the cores of the CPU."""
    bands = {name: band for name, band in BANDS.items() if session.place == Device.CPU or name != SHARE}
    return {**bands, "cold_over_warm": COLD_BAND} if session.protocol == "cpu-cold" else bands


def _share(session: Session) -> float:
    return float(session.process(0).ask("quiet", threads=session.threads)[SHARE])


def _share_is_low(session: Session, share: float) -> bool:
    band = _bands(session).get(SHARE)
    return band is not None and not band[0] <= share <= band[1]


def _busy(session: Session, share: float) -> str:
    return (
        f"the machine is busy: a thread got {share:.0%} of a core while {session.threads} computed at the same time, "
        f"at least {BANDS[SHARE][0]:.0%} is needed ({load_seen()})"
    )


def is_quiet(session: Session) -> bool:
    """Whether no other process computes on the cores of the race now."""
    return not _share_is_low(session, _share(session) if SHARE in _bands(session) else 1.0)


def check_quiet(session: Session) -> None:
    """Check after a race that no other process computes on the cores of the race.

    Raises
    ------
    ControlsError
        Other processes compute on these cores in every attempt.
    """
    if SHARE not in _bands(session):
        return
    share = 0.0
    for _ in range(ATTEMPTS):
        share = _share(session)
        if not _share_is_low(session, share):
            return
        time.sleep(WAIT_S)
    raise ControlsError(f"{_busy(session, share)}; try again when it is quiet")


def check_controls(
    session: Session, variants: Sequence[Variant], progress: Callable[[str, float], None], dtype: str = "float32"
) -> None:
    """Race the first of `variants` that runs against itself, against itself called twice, and time an empty call.

    A call at the chosen shape is long enough for the clock, and short. Another process may spoil an attempt, so there are
    several attempts; `session.controls` holds the values of the last one.

    Raises
    ------
    ControlsError
        The values are outside their bands in every attempt.
    """
    waiting = list(variants)
    small = shrunken(waiting[0].op, typical_dims(waiting[0].op), WORK)
    bands = _bands(session)
    message = ""
    for attempt in range(ATTEMPTS):
        progress("controls: cores, two copies, one called twice, an empty call", attempt / ATTEMPTS)
        if SHARE in bands:
            share = _share(session)
            if _share_is_low(session, share):
                message = _busy(session, share)
                time.sleep(WAIT_S)
                continue
        while True:
            try:
                session.controls = _measure(session, waiting[0], small, dtype)
                break
            except ContestantError as error:
                broken = waiting.pop(0)
                if not waiting:
                    raise ControlsError(f"no variant ran as a control: {broken} {error.status}: {error}") from error
        if SHARE in bands:
            session.controls[SHARE] = share
        outside = [name for name, (low, high) in bands.items() if not low <= session.controls[name] <= high]
        if not outside:
            return
        message = ", ".join(f"{name} reads {session.controls[name]:.3f}, allowed {bands[name]}" for name in outside)
        message = f"{message}; the machine may be busy ({load_seen()})"
    raise ControlsError(
        f"the controls failed {ATTEMPTS} times, so nothing was stored: {message}; try again on a quieter machine"
    )


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
            race.round(entries, save=False)
    finally:
        shutil.rmtree(board.folder, ignore_errors=True)
    for entry in entries:
        if not entry.racing:
            raise ContestantError(entry.status, entry.note)
    first, second, double, empty = (summarise(e.samples_ms).lower_quartile for e in entries)
    values = {"a_a": first / second, "twice": 2 * double / (first + second), "floor_us": empty * 1e3}
    if session.protocol == "cpu-cold":
        values["cold_over_warm"] = float(entries[0].process.ask("memory", cache_bytes=session.cache_bytes)["ratio"])
    return values
