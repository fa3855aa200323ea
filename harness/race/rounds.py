"""A race: one board's contestants take turns in random order, round after round, each in a process of its own.

A turn gives one sample: the lower quartile of a few batches of calls, every call on fresh values in buffers that rotate. (A
call on two threads waits for milliseconds when anything else of the machine runs on either core, so the median of a turn
says more about the neighbours.) Contestants much slower than the leader take part in the first rounds only. Answers of
timed calls, chosen afterwards, are checked.
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
    """One contestant of one board: who it is, how it is asked, and what it has shown so far."""

    name: str
    process: ContestantProcess
    kind: str = "variant"
    variant: str = ""
    yardstick: bool = False
    source: str = ""
    status: str = "passed"
    note: str = ""
    samples_ms: list[float] = field(default_factory=list)
    estimate_ns: float = 0.0
    count: int = 1
    repeats: int = 1
    quota: int = MOST_ROUNDS

    @property
    def racing(self) -> bool:
        """Whether it has done nothing wrong so far."""
        return self.status == "passed"

    def refine(self, least_ns: float, sets: int) -> None:
        """Choose, from the shortest time seen, how many calls make a sample and how many samples a turn."""
        self.estimate_ns = min(self.estimate_ns, least_ns)
        self.count = max(1, min(sets, math.ceil(SAMPLE_NS / self.estimate_ns)))
        self.repeats = max(1, min(MOST_SAMPLES, int(TURN_NS / (self.count * self.estimate_ns))))

    def fail(self, error: ContestantError) -> None:
        """Take it out of the race."""
        self.status, self.note, self.samples_ms = error.status, str(error), []


@dataclass
class Race:
    """The turns of one board's contestants, and the answers kept for the check."""

    session: Session
    board: Board
    entries: list[Entry]
    sets: int
    tight: bool
    heat: int = 0
    seed: int = field(default_factory=lambda: random.randrange(1 << 30))
    answered: dict[int, list[Entry]] = field(default_factory=dict)

    @property
    def racing(self) -> list[Entry]:
        """The entries that have done nothing wrong so far."""
        return [e for e in self.entries if e.racing]

    def prepare(self, entry: Entry) -> None:
        """Give an entry its buffers."""
        entry.process.ask(
            "prepare", dims=self.board.dims, params=self.board.params, dtype=self.board.dtype, sets=self.sets, heat=self.heat,
            folder=str(self.board.folder), cold=self.session.cold_bytes,
        )  # fmt: skip

    def each(self, entries: list[Entry], action: Callable[[Entry], object]) -> None:
        """Do something with each entry; one that fails, crashes or hangs is out."""
        for entry in entries:
            try:
                action(entry)
            except ContestantError as error:
                entry.fail(error)

    def turn(self, entry: Entry, seed: int, *, look: bool, warm: bool = True) -> statistics.Summary:
        """Let `entry` have its turn of the round called `seed`; return what its samples say, in nanoseconds a call."""
        if self.tight:
            self.prepare(entry)
        expected_s = entry.estimate_ns * entry.count * entry.repeats / 1e9
        taken = entry.process.ask(
            "turn", limit_s=PATIENCE_S + PATIENCE * expected_s, count=entry.count, samples=entry.repeats, seed=seed,
            last=seed % self.sets, warm=warm and entry.estimate_ns < WARM_BELOW_NS,
        )  # fmt: skip
        if look:
            name = f"{seed}-{self.entries.index(entry)}"
            entry.process.ask("answer", seed=seed, folder=str(self.board.folder), name=name)
            self.answered.setdefault(seed, []).append(entry)
        if self.tight:
            entry.process.ask("release")
        return statistics.summarise(taken["ns"])

    def estimate(self, entry: Entry) -> None:
        """Time one call, and choose how many of them make a sample and how many samples a turn."""
        entry.estimate_ns = self.turn(entry, 0, look=True, warm=False).least
        if entry.estimate_ns < WARM_BELOW_NS:
            entry.repeats = max(2, min(MOST_SAMPLES, int(TURN_NS / entry.estimate_ns)))
            entry.estimate_ns = min(entry.estimate_ns, self.turn(entry, 0, look=False).least)
        entry.refine(entry.estimate_ns, self.sets)

    def round(self, entries: list[Entry], *, look: bool) -> None:
        """Give each of `entries` a turn, in random order; `look`: keep their answers."""
        self.seed += 1

        def sample(entry: Entry) -> None:
            entry.samples_ms.append(self.turn(entry, self.seed, look=look).lower_quartile / 1e6)

        self.each(random.sample(entries, len(entries)), sample)

    def check(self) -> None:
        """Compare the answers kept from timed calls with the oracle's; one that differs costs its contestant its times."""
        place, torch = str(self.board.folder), self.session.torch
        for seed, entries in self.answered.items():
            seen = [e for e in entries if e.racing and e.kind != "torch"]
            if not seen:
                continue
            message = {"params": self.board.params, "source": place, "folder": place, "number": seed % self.sets}
            try:
                torch.ask("reference", op=self.board.op.name, values=seed, seed=seed, limit_s=REFERENCE_S, **message)
            except ContestantError as error:
                for entry in seen:
                    entry.fail(ContestantError("unchecked", f"torch has no answer to compare with: {error}"))
                continue
            for entry in seen:
                name = f"{seed}-{self.entries.index(entry)}"
                found = disagreement(self.board.op, self.board.dims, self.board.folder, name)
                if found:
                    entry.fail(ContestantError("wrong", found))


def limit_rounds(entries: list[Entry], leader_ns: float, budget_s: float) -> None:
    """Give contestants much slower than the leader a few rounds only, and say so."""
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
    """Race `entries`, loaded and warm, on `board`; their samples, statuses and notes are filled in.

    Parameters
    ----------
    budget_s : float
        Seconds for the rounds; the race ends earlier once the ranking is settled.
    progress : callable
        Told between turns what goes on and how far it is, from 0 to 1.
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
    race.answered = {0: once}
    _rounds(race, start, budget_s, progress)
    _second_heat(race, SECOND_HEAT_SHARE * budget_s)
    progress("checking timed answers", 1.0)
    race.each(race.racing, lambda entry: entry.process.ask("release"))
    race.check()


def _rounds(race: Race, start: float, budget_s: float, progress: Callable[[str, float], None]) -> None:
    looked_at, next_look, number = random.randrange(SLOW_ROUNDS), FIRST_LOOK, 0
    deadline = start + (1 - SECOND_HEAT_SHARE) * budget_s
    while number < MOST_ROUNDS:
        present = [e for e in race.racing if number < e.quota and e.quota > 1]
        late = time.monotonic() > deadline
        if not present or (late and number >= FEWEST_ROUNDS):
            break
        race.round(present, look=number == looked_at)
        number += 1
        _reconsider(race, [e for e in present if e.racing], budget_s)
        progress(f"round {number}", min((time.monotonic() - start) / budget_s, 1.0))
        if number == next_look:
            next_look = math.ceil(next_look * LOOK_GROWTH)
            leaders = [e for e in race.racing if e.quota > number]
            if statistics.settled([e.samples_ms for e in leaders]):
                break
    if number > FIRST_LOOK:
        race.round([e for e in race.racing if number < e.quota and e.quota > 1], look=True)


def _reconsider(race: Race, present: list[Entry], budget_s: float) -> None:
    """Plan again for those still in the race: an estimate that a neighbour on the machine spoiled must not decide it."""
    for entry in present:
        entry.refine(min(entry.samples_ms) * 1e6, race.sets)
    if present:
        limit_rounds(present, min(e.estimate_ns for e in race.racing), budget_s)


def _second_heat(race: Race, budget_s: float) -> None:
    """Race the two best variants again at other addresses: a winner must win twice."""
    able = [e for e in race.racing if not e.yardstick and len(e.samples_ms) > FEWEST_ROUNDS]
    best = sorted(able, key=lambda e: statistics.summarise(e.samples_ms).median)[:2]
    if race.tight or len(best) < 2 or len(best[0].samples_ms) != len(best[1].samples_ms):  # noqa: PLR2004 (two)
        return
    race.heat = 1
    race.each(best, race.prepare)
    start, rounds = time.monotonic(), len(best[0].samples_ms) // 3
    for _ in range(rounds):
        if time.monotonic() - start > budget_s or not all(e.racing for e in best):
            return
        race.round(best, look=False)
