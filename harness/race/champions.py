"""The champions, derived from runs and evidence: the one rule by which a variant is chosen.

For every op, workload, thread count, protocol and dtype one run speaks: of the runs with the most rows that still hold
(the variant's sources are the ones that were raced, and its proof is fresh), the newest. A race of a few variants does not
displace a race of all of them. A run is undecided if the interval of the two fastest variants is wider than a factor of 2 and
reaches below 2; the next sound run speaks instead, and without one nobody is champion.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.race.statistics import Interval, paired_ratio, summarise
from registry.cli import given_words
from registry.records import Champion, Row, Run, Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from registry.table import Table
    from registry.variant import Variant

__all__ = [
    "KEY",
    "Standing",
    "Undecided",
    "derive",
    "race_again",
    "refresh",
    "standing_runs",
    "standings",
    "undecided_message",
    "undecided_of",
]

NOISE = 1.03  # times the fastest: what two copies of one kernel may differ by in the controls of a quiet session
WIDEST = 2.0  # an interval wider than this factor crowns nobody, unless all of it lies beyond this factor
KEY = ["op", "workload", "threads", "protocol", "dtype", "device"]
AGAIN_BUDGET = "2m"


@dataclass(frozen=True)
class Undecided:
    """A run that crowns nobody.

    Attributes
    ----------
    interval : Interval
        The runner-up's time over the winner's.
    """

    run: Run
    winner: str
    runner_up: str
    interval: Interval

    def __str__(self) -> str:
        low, high = _bound(self.interval.low), _bound(self.interval.high)
        return (
            f"undecided: {self.run.op} at {self.run.workload}: {self.runner_up} takes between {low} and {high} times "
            f"the time of {self.winner}"
        )


@dataclass(frozen=True)
class Standing:
    """What the records say of one op at one workload, raced in one way.

    Attributes
    ----------
    run : Run
        The run that speaks, with only its yardsticks and the rows that still hold.
    champion : Champion or None
        None if no run decided.
    undecided : Undecided or None
        The run that would speak, if it had decided.
    """

    run: Run
    champion: Champion | None
    undecided: Undecided | None = None


def _bound(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2f}"  # noqa: PLR2004 (three digits)


def race_again(run: Run, table: Table, *options: str) -> str:
    """Return the command that races one run's op at its workload again, with more time.

    Parameters
    ----------
    *options : str
        Words to add, such as those of ``--results``.
    """
    family = [op for op in table.ops.values() if op.family == run.op]
    op = f"{run.op[:-1]}[{run.op[-1]}]" if len(family) > 1 else run.op  # the plain name stands for the family
    by_dims = "=" in run.workload
    shape = ["--dims", run.workload.replace(",", " ")] if by_dims else ["--workload", run.workload]
    words = ["python", "-m", "harness.bench", "--op", op, *shape, "--threads", str(run.threads), "--protocol", run.protocol]
    words += [] if run.dtype == "float32" else ["--dtype", run.dtype]
    words += [] if run.device == "host" else ["--device", run.device]
    return shlex.join([*words, "--budget", AGAIN_BUDGET, *options])


def _frame(runs: list[Run], holds: Callable[[Run, Row], bool]) -> pd.DataFrame:
    """Return one line per run, with how many of its rows still hold."""
    lines = [
        {**{name: getattr(run, name) for name in KEY}, "run": number, "holds": sum(holds(run, row) for row in run.rows)}
        for number, run in enumerate(runs)
    ]
    return pd.DataFrame(lines, columns=[*KEY, "run", "holds"])


def standings(store: Store, table: Table) -> list[Standing]:
    """Return what the records say, one standing per op, workload, thread count, protocol, dtype and device."""

    @cache
    def proven(op: str, name: str, device: str) -> str | None:
        """Return the source of a variant that is proven; None for any other."""
        variant = table.variants.get(op, {}).get(name)
        proof = None if variant is None else store.proof(variant, device)
        return proof.source if proof is not None and proof.status == "passed" else None

    def holds(run: Run, row: Row) -> bool:
        timed = bool(row.samples_ms) and not row.yardstick
        return timed and proven(run.op, row.variant, run.device) == row.source

    runs = store.runs()
    frame = _frame(runs, holds)
    found = []
    for _, same in frame[frame["holds"] > 0].groupby(KEY, sort=True):
        numbers = same.sort_values(["holds", "run"], ascending=False)["run"]
        found.append(_standing([_held(runs[int(number)], holds) for number in numbers], table))
    return found


def _held(run: Run, holds: Callable[[Run, Row], bool]) -> Run:
    """Return a run with only its yardsticks and the rows that still hold."""
    rows = [row for row in run.rows if row.yardstick or holds(run, row)]
    return Run.from_json({**run.to_json(), "rows": [row.to_json() for row in rows]})


def _standing(runs: list[Run], table: Table) -> Standing:
    """Return what the first of `runs` says that decides."""
    undecided = None
    for run in runs:
        found = _champion(run, table)
        if isinstance(found, Champion):
            return Standing(run, found, undecided)
        undecided = undecided or found
    return Standing(runs[0], None, undecided)


def undecided_of(run: Run, table: Table) -> Undecided | None:
    """Return the doubt about one run alone, whether it was stored or not; None if it decides."""
    timed = _held(run, lambda _, row: bool(row.samples_ms) and not row.yardstick)
    if all(row.yardstick for row in timed.rows):
        return None
    found = _champion(timed, table)
    return found if isinstance(found, Undecided) else None


def standing_runs(store: Store, table: Table) -> list[Run]:
    """Return the runs that speak, each with only its yardsticks and the rows that still hold."""
    return [standing.run for standing in standings(store, table)]


def _length(variant: Variant) -> int:
    return sum(bool(line.strip()) for line in variant.path.read_text().splitlines())


def _time(row: Row) -> float:
    """Return the lower quartile: what a neighbour on the machine disturbs least."""
    return summarise(row.samples_ms).lower_quartile


def _champion(run: Run, table: Table) -> Champion | Undecided:
    """Return the fastest variant; of those that tie with it, one without a thread pool of its own, then the shortest.

    A tie is a difference that is small and not decided. A wide interval is no tie but a noisy race, which crowns nobody.
    """
    rows = sorted((r for r in run.rows if not r.yardstick), key=_time)
    unbeaten = [r for r in rows if not any(paired_ratio(r.samples_ms, o.samples_ms).low > 1 for o in rows)] or rows[:1]
    tied = [r for r in unbeaten if _time(r) <= NOISE * _time(unbeaten[0])]
    lengths = {r.variant: _length(table.variant(run.op, r.variant)) for r in tied}
    pools = {r.variant: table.variant(run.op, r.variant).backend == "numpy" for r in tied}
    winner = min(tied, key=lambda r: (pools[r.variant], lengths[r.variant], rows.index(r)))
    others = [r for r in rows if r is not winner]
    found: dict[str, Any] = {"reason": "the only proven variant in the race"}
    if others:
        interval = paired_ratio(others[0].samples_ms, winner.samples_ms)
        rival = others[0].variant
        if interval.high > WIDEST * interval.low and interval.low < WIDEST:
            return Undecided(run, winner.variant, rival, interval)
        found = {"runner_up": rival, "ratio": interval.ratio, "ratio_low": interval.low, "ratio_high": interval.high}
        if rival in lengths and pools[winner.variant] != pools[rival]:
            found["reason"] = f"ties with {rival}, whose library brings a second thread pool"
        elif rival in lengths:
            here, there = lengths[winner.variant], lengths[rival]
            found["reason"] = f"ties with {rival} and has the shorter file: {here} lines against {there}"
        else:
            found["reason"] = f"fastest of {len(rows)} proven variants"
    return Champion(
        op=run.op, workload=run.workload, dims=run.dims, variant=winner.variant, source=winner.source, threads=run.threads,
        median_ms=summarise(winner.samples_ms).median, protocol=run.protocol, dtype=run.dtype, device=run.device, **found,
    )  # fmt: skip


def derive(store: Store, table: Table) -> list[Champion]:
    """Return the champions that runs and evidence give: one per op, workload, thread count, protocol and dtype."""
    return [standing.champion for standing in standings(store, table) if standing.champion is not None]


def refresh(store: Store, table: Table) -> list[Champion]:
    """Derive the champions anew and write them."""
    champions = derive(store, table)
    store.write_champions(champions)
    return champions


def undecided_message(standing: Standing, table: Table, options: argparse.Namespace) -> str:
    """Return the line about a standing whose newest run crowns nobody: why, who is champion instead, and how to race again."""
    if standing.undecided is None:
        return ""
    now = f"{standing.champion.variant} stays champion by an earlier run" if standing.champion else "nobody is champion"
    again = race_again(standing.undecided.run, table, *given_words(options))
    return f"{standing.undecided}; {now}; race again with: {again}"
