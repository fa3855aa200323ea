"""A race: the contestants of one board, each in its own process, take turns in random order, round after round.

A turn gives one sample: the lower quartile of a few batches of calls. The calls rotate over several sets of buffers, and the
values change before each call. The sample is no median, because a call on two threads waits for milliseconds when another
process runs on either core. Contestants much slower than the leader take part in the first rounds only. The outputs of the
timed calls of a random round and of the last round are checked.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.race import statistics
from harness.race.check import disagreement
from harness.race.contestant_process import ContestantError
from registry.enums import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.race.board import Board
    from harness.race.contestant_process import ContestantProcess
    from harness.race.session import Session

__all__ = ["Entry", "Race", "limit_rounds", "run_race"]

SAMPLE_NS = 50_000.0
TURN_NS = 20_000_000.0
MOST_SAMPLES = 15
WARM_BELOW_NS = 2e7
FEWEST_ROUNDS = 5
SLOW_ROUNDS = 3
SLOW_FACTOR = 5.0
SLOW_SHARE = 0.04
SLOWEST_SHARE = 0.25
FIRST_LOOK, LOOK_GROWTH = 12, 1.5
MOST_ROUNDS = 400
SECOND_HEAT_SHARE = 0.2
PATIENCE_S, PATIENCE = 60.0, 20.0
REFERENCE_S = 300.0


@dataclass
class Entry:
    """One contestant of one board: its name and process, the size of its turns, and its samples so far."""

    name: str
    process: ContestantProcess
    kind: str = "variant"
    variant: str = ""
    baseline: bool = False
    source: str = ""
    status: Status = Status.PASSED
    note: str = ""
    samples_ms: list[float] = field(default_factory=list)
    estimate_ns: float = 0.0
    count: int = 1
    repeats: int = 1
    quota: int = MOST_ROUNDS

    @property
    def racing(self) -> bool:
        """Whether the contestant has not failed so far."""
        return self.status == Status.PASSED

    def refine(self, least_ns: float, sets: int) -> None:
        """Set the number of calls per sample and of samples per turn from the shortest time measured so far."""
        self.estimate_ns = min(self.estimate_ns, least_ns)
        self.count = max(1, min(sets, math.ceil(SAMPLE_NS / self.estimate_ns)))
        self.repeats = max(1, min(MOST_SAMPLES, int(TURN_NS / (self.count * self.estimate_ns))))

    def fail(self, error: ContestantError) -> None:
        """Remove the contestant from the race, with the status and message of the error."""
        self.status, self.note, self.samples_ms = error.status, str(error), []


@dataclass
class Race:
    """The turns of one board's contestants, and the list of saved outputs to check.

    Attributes
    ----------
    tight : bool
        Whether memory holds the buffers of one contestant only, so that each turn prepares and releases them.
    saved : dict of int to list of Entry
        The contestants whose outputs of the round with this seed were saved.
    """

    session: Session
    board: Board
    entries: list[Entry]
    sets: int
    tight: bool
    heat: int = 0
    seed: int = field(default_factory=lambda: random.randrange(1 << 30))
    saved: dict[int, list[Entry]] = field(default_factory=dict)

    @property
    def racing(self) -> list[Entry]:
        """The entries that have not failed so far."""
        return [e for e in self.entries if e.racing]

    def prepare(self, entry: Entry) -> None:
        """Make the process of an entry allocate and fill its buffers."""
        entry.process.ask(
            "prepare", dims=self.board.dims, params=self.board.params, dtype=self.board.dtype, sets=self.sets, heat=self.heat,
            folder=str(self.board.folder), cold=self.session.cold_bytes,
        )  # fmt: skip

    def each(self, entries: list[Entry], action: Callable[[Entry], object]) -> None:
        """Call `action` with each entry; an entry that fails, crashes or hangs is removed from the race."""
        for entry in entries:
            try:
                action(entry)
            except ContestantError as error:
                entry.fail(error)

    def turn(self, entry: Entry, seed: int, *, save: bool, warm: bool = True) -> statistics.Summary:
        """Run the turn of `entry` in the round of `seed`; return the quantiles of its batches, in nanoseconds per call."""
        if self.tight:
            self.prepare(entry)
        expected_s = entry.estimate_ns * entry.count * entry.repeats / 1e9
        reply = entry.process.ask(
            "turn", PATIENCE_S + PATIENCE * expected_s, count=entry.count, samples=entry.repeats, seed=seed,
            last=seed % self.sets, warm=warm and entry.estimate_ns < WARM_BELOW_NS,
        )  # fmt: skip
        if save:
            name = f"{seed}-{self.entries.index(entry)}"
            entry.process.ask("save_outputs", seed=seed, folder=str(self.board.folder), name=name)
            self.saved.setdefault(seed, []).append(entry)
        if self.tight:
            entry.process.ask("release")
        return statistics.summarise(reply["ns"])

    def estimate(self, entry: Entry) -> None:
        """Time one call, and set the number of calls per sample and of samples per turn."""
        entry.estimate_ns = self.turn(entry, 0, save=True, warm=False).least
        if entry.estimate_ns < WARM_BELOW_NS:
            entry.repeats = max(2, min(MOST_SAMPLES, int(TURN_NS / entry.estimate_ns)))
            entry.estimate_ns = min(entry.estimate_ns, self.turn(entry, 0, save=False).least)
        entry.refine(entry.estimate_ns, self.sets)

    def round(self, entries: list[Entry], *, save: bool) -> None:
        """Run a turn of each of `entries`, in random order; with `save`, save their outputs for the check."""
        self.seed += 1

        def sample(entry: Entry) -> None:
            entry.samples_ms.append(self.turn(entry, self.seed, save=save).lower_quartile / 1e6)

        self.each(random.sample(entries, len(entries)), sample)

    def check(self) -> None:
        """Compare the saved outputs with the oracle's outputs; a contestant whose outputs are wrong loses its times."""
        folder, torch = str(self.board.folder), self.session.torch
        for seed, entries in self.saved.items():
            unchecked = [e for e in entries if e.racing and e.kind != "torch"]
            if not unchecked:
                continue
            message = {"params": self.board.params, "source": folder, "folder": folder, "number": seed % self.sets}
            try:
                torch.ask("reference", REFERENCE_S, op=self.board.op.name, values=seed, seed=seed, **message)
            except ContestantError as error:
                for entry in unchecked:
                    entry.fail(ContestantError(Status.UNCHECKED, f"torch computed no reference outputs: {error}"))
                continue
            for entry in unchecked:
                name = f"{seed}-{self.entries.index(entry)}"
                difference = disagreement(self.board.op, self.board.dims, self.board.folder, name)
                if difference:
                    entry.fail(ContestantError(Status.WRONG, difference))


def limit_rounds(entries: list[Entry], leader_ns: float, budget_s: float) -> None:
    """Limit contestants much slower than the leader to a few rounds, and put the limit into their notes."""
    for entry in entries:
        entry.quota, entry.note = MOST_ROUNDS, ""
        seconds, ratio = entry.estimate_ns / 1e9, entry.estimate_ns / leader_ns
        if ratio > SLOW_FACTOR and seconds * MOST_ROUNDS > SLOW_SHARE * budget_s:
            fewest = SLOW_ROUNDS if seconds * SLOW_ROUNDS < SLOWEST_SHARE * budget_s else 1
            entry.quota = max(int(SLOW_SHARE * budget_s / seconds), fewest)
            rounds = "one call" if entry.quota == 1 else f"at most {entry.quota} rounds"
            entry.note = f"{rounds}: {ratio:.0f} times the leader's time"


def run_race(
    session: Session, board: Board, entries: list[Entry], budget_s: float, progress: Callable[[str, float], None]
) -> None:
    """Race `entries`, which are loaded and warm, on `board`, and fill in their samples, statuses and notes.

    Parameters
    ----------
    budget_s : float
        Time budget of the rounds in seconds; the race ends earlier once the ranking is settled.
    progress : callable
        Called between turns with the present activity and the finished share, from 0 to 1.
    """
    sets = session.set_count(board)
    race = Race(session, board, entries, sets, tight=session.is_tight(board, sets, len(entries)))
    start = time.monotonic()
    if not race.tight:
        race.each(race.racing, race.prepare)

    def estimate(entry: Entry) -> None:
        race.estimate(entry)
        progress(f"{entry.name} takes {entry.estimate_ns / 1e6:.3g} ms", 0.0)

    race.each(race.racing, estimate)
    if not race.racing:
        return
    limit_rounds(race.racing, min(e.estimate_ns for e in race.racing), budget_s)
    once, others = ([e for e in race.racing if (e.quota == 1) is one] for one in (True, False))
    if race.tight and not session.is_tight(board, sets, len(others)):
        race.tight = False
        race.each(others, race.prepare)
    for entry in once:
        entry.samples_ms.append(entry.estimate_ns / 1e6)
    race.saved = {0: once}
    _rounds(race, start, budget_s, progress)
    _second_heat(race, SECOND_HEAT_SHARE * budget_s)
    progress("checking the outputs of timed calls", 1.0)
    race.each(race.racing, lambda entry: entry.process.ask("release"))
    race.check()


def _rounds(race: Race, start: float, budget_s: float, progress: Callable[[str, float], None]) -> None:
    checked_round, next_look, number = random.randrange(SLOW_ROUNDS), FIRST_LOOK, 0
    deadline = start + (1 - SECOND_HEAT_SHARE) * budget_s
    while number < MOST_ROUNDS:
        present = [e for e in race.racing if number < e.quota and e.quota > 1]
        late = time.monotonic() > deadline
        if not present or (late and number >= FEWEST_ROUNDS):
            break
        race.round(present, save=number == checked_round)
        number += 1
        _reconsider(race, [e for e in present if e.racing], budget_s)
        progress(f"round {number}", min((time.monotonic() - start) / budget_s, 1.0))
        if number == next_look:
            next_look = math.ceil(next_look * LOOK_GROWTH)
            leaders = [e for e in race.racing if e.quota > number]
            if statistics.settled([e.samples_ms for e in leaders]):
                break
    if number > FIRST_LOOK:
        race.round([e for e in race.racing if number < e.quota and e.quota > 1], save=True)


def _reconsider(race: Race, present: list[Entry], budget_s: float) -> None:
    """Limit the rounds again from better estimates: other processes may have spoiled the first ones."""
    for entry in present:
        entry.refine(min(entry.samples_ms) * 1e6, race.sets)
    if present:
        limit_rounds(present, min(e.estimate_ns for e in race.racing), budget_s)


def _second_heat(race: Race, budget_s: float) -> None:
    """Race the two best variants again at other addresses: the addresses must not decide the winner."""
    able = [e for e in race.racing if not e.baseline and len(e.samples_ms) > FEWEST_ROUNDS]
    best = sorted(able, key=lambda e: statistics.summarise(e.samples_ms).median)[:2]
    if race.tight or len(best) < 2 or len(best[0].samples_ms) != len(best[1].samples_ms):  # noqa: PLR2004 (two)
        return
    race.heat = 1
    race.each(best, race.prepare)
    start, rounds = time.monotonic(), len(best[0].samples_ms) // 3
    for _ in range(rounds):
        if time.monotonic() - start > budget_s or not all(e.racing for e in best):
            return
        race.round(best, save=False)
