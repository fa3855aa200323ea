"""The champions, derived from runs and evidence: the one rule by which a variant is chosen.

A row of a run is valid if the sources of its variant have not changed since the race and its proof is fresh. For every op,
workload, thread count, protocol and dtype, one run decides: the newest of the runs with the most valid rows. Therefore a race
of a few variants does not displace a race of all variants. A run is undecided if the interval of the two fastest variants is
wider than a factor of 2 and reaches below 2. Then the next run decides. If no run decides, there is no champion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from harness.race.statistics import Interval, paired_ratio, summarise
from registry.cli import given_words
from registry.commands import pasted
from registry.enums import Device, Status
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
    "decision_of",
    "derive",
    "race_again",
    "refresh",
    "rule_of",
    "standings",
    "undecided_message",
    "undecided_of",
]

NOISE = 1.03  # largest ratio of the times of two copies of one kernel in the controls of a quiet session
WIDEST = 2.0  # an interval wider than this factor decides nothing, unless all of it lies above this factor
KEY = ["op", "workload", "threads", "protocol", "dtype", "device"]
AGAIN_BUDGET = "2m"
SECOND_POOL, SHORTER = "whose library brings a second thread pool", "has the shorter file"  # parts of reasons


@dataclass(frozen=True)
class Undecided:
    """A run that decides no champion.

    Attributes
    ----------
    interval : Interval
        The runner-up's time over the winner's time.
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
    """The deciding run and the champion of one op at one workload, thread count, protocol, dtype and device.

    Attributes
    ----------
    run : Run
        The deciding run, with only its baselines and its valid rows.
    champion : Champion or None
        None if no run decides.
    undecided : Undecided or None
        A newer or larger run that was passed over because it is undecided.
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
        Words to add, such as ``--results`` and its value.
    """
    family = [op for op in table.ops.values() if op.family == run.op]
    op = f"{run.op[:-1]}[{run.op[-1]}]" if len(family) > 1 else run.op  # the plain name would select the whole family
    by_dims = "=" in run.workload
    shape = ["--dims", run.workload.replace(",", " ")] if by_dims else ["--workload", run.workload]
    words = ["--op", op, *shape, "--threads", str(run.threads), "--protocol", run.protocol]
    words += [] if run.dtype == "float32" else ["--dtype", run.dtype]
    words += [] if run.device == Device.CPU else ["--device", run.device]
    return pasted("harness.bench", *words, "--budget", AGAIN_BUDGET, *options)


def _frame(runs: list[Run], is_valid: Callable[[Run, Row], bool]) -> pd.DataFrame:
    """Return one line per run, with the number of its valid rows."""
    lines = [
        {**{name: getattr(run, name) for name in KEY}, "run": number, "valid": sum(is_valid(run, row) for row in run.rows)}
        for number, run in enumerate(runs)
    ]
    return pd.DataFrame(lines, columns=[*KEY, "run", "valid"])


def standings(store: Store, table: Table) -> list[Standing]:
    """Return one standing per op, workload, thread count, protocol, dtype and device that the records hold."""

    @cache
    def proven(op: str, name: str, device: Device) -> str | None:
        """Return the source hash of a proven variant; None for any other variant."""
        variant = table.variants.get(op, {}).get(name)
        proof = None if variant is None else store.proof(variant, device)
        return proof.source if proof is not None and proof.status == Status.PASSED else None

    def is_valid(run: Run, row: Row) -> bool:
        timed = bool(row.samples_ms) and not row.baseline
        return timed and proven(run.op, row.variant, run.device) == row.source

    runs = store.runs()
    frame = _frame(runs, is_valid)
    result = []
    for _, same in frame[frame["valid"] > 0].groupby(KEY, sort=True):
        numbers = same.sort_values(["valid", "run"], ascending=False)["run"]
        result.append(_standing([_valid_part(runs[int(number)], is_valid) for number in numbers], table))
    return result


def _valid_part(run: Run, is_valid: Callable[[Run, Row], bool]) -> Run:
    """Return a run with only its baselines and its valid rows."""
    return replace(run, rows=[row for row in run.rows if row.baseline or is_valid(run, row)])


def _standing(runs: list[Run], table: Table) -> Standing:
    """Return the standing given by the first of `runs` that decides a champion."""
    undecided = None
    for run in runs:
        decision = _champion(run, table)
        if isinstance(decision, Champion):
            return Standing(run, decision, undecided)
        undecided = undecided or decision
    return Standing(runs[0], None, undecided)


def undecided_of(run: Run, table: Table) -> Undecided | None:
    """Return why one run, stored or not, decides no champion; None if it decides one."""
    decision = decision_of(run, table)
    return decision if isinstance(decision, Undecided) else None


def decision_of(run: Run, table: Table) -> Champion | Undecided | None:
    """Return the champion of one run, stored or not, or why it decides none; None if no variant has a time."""
    timed = _valid_part(run, lambda _, row: bool(row.samples_ms) and not row.baseline)
    if all(row.baseline for row in timed.rows):
        return None
    return _champion(timed, table)


def _length(variant: Variant) -> int:
    return sum(bool(line.strip()) for line in variant.path.read_text().splitlines())


def _champion(run: Run, table: Table) -> Champion | Undecided:
    """Return the fastest variant; of variants that tie with it, one without a thread pool of its own, then the shortest file.

    Two variants tie if their times differ little and their interval contains 1. A wide interval is not a tie: it shows that
    the race was noisy, and the run is undecided.
    """
    rows = run.ranked({row.variant: row.source for row in run.rows})
    unbeaten = [r for r in rows if not any(paired_ratio(r.samples_ms, o.samples_ms).low > 1 for o in rows)] or rows[:1]
    tied = [r for r in unbeaten if r.time_ms <= NOISE * unbeaten[0].time_ms]
    lengths = {r.variant: _length(table.variant(run.op, r.variant)) for r in tied}
    pools = {r.variant: table.variant(run.op, r.variant).backend == "numpy" for r in tied}
    winner = min(tied, key=lambda r: (pools[r.variant], lengths[r.variant], rows.index(r)))
    others = [r for r in rows if r is not winner]
    decision: dict[str, Any] = {"reason": "the only proven variant in the race"}
    if others:
        interval = paired_ratio(others[0].samples_ms, winner.samples_ms)
        second = others[0].variant
        if interval.high > WIDEST * interval.low and interval.low < WIDEST:
            return Undecided(run, winner.variant, second, interval)
        decision = {"runner_up": second, "ratio": interval.ratio, "ratio_low": interval.low, "ratio_high": interval.high}
        if second in lengths and pools[winner.variant] != pools[second]:
            decision["reason"] = f"ties with {second}, {SECOND_POOL}"
        elif second in lengths:
            here, there = lengths[winner.variant], lengths[second]
            decision["reason"] = f"ties with {second} and {SHORTER}: {here} lines against {there}"
        else:
            decision["reason"] = f"fastest of {len(rows)} proven variants"
    return Champion(
        op=run.op, workload=run.workload, dims=run.dims, variant=winner.variant, source=winner.source, threads=run.threads,
        median_ms=summarise(winner.samples_ms).median, protocol=run.protocol, dtype=run.dtype, device=run.device, **decision,
    )  # fmt: skip


def rule_of(champion: Champion) -> Literal["fastest", "tie_without_thread_pool", "tie_with_shorter_file", "only"]:
    """Return the rule that made a variant champion."""
    if not champion.runner_up:
        return "only"
    if SECOND_POOL in champion.reason:
        return "tie_without_thread_pool"
    return "tie_with_shorter_file" if SHORTER in champion.reason else "fastest"


def derive(store: Store, table: Table) -> list[Champion]:
    """Return the champions that follow from runs and evidence: one per op, workload, thread count, protocol and dtype."""
    return [standing.champion for standing in standings(store, table) if standing.champion is not None]


def refresh(store: Store, table: Table) -> list[Champion]:
    """Derive the champions again and write them to the store."""
    champions = derive(store, table)
    store.write_champions(champions)
    return champions


def undecided_message(standing: Standing, table: Table, options: argparse.Namespace) -> str:
    """Return a message about an undecided run: the reason, the present champion, and the command that races again."""
    if standing.undecided is None:
        return ""
    now = f"{standing.champion.variant} stays champion by an earlier run" if standing.champion else "there is no champion"
    again = race_again(standing.undecided.run, table, *given_words(options))
    return f"{standing.undecided}; {now}; race again with: {again}"
