"""``python -m harness.leaderboard``: the boards and the champions, derived from runs and evidence, never typed.

For every op, workload, thread count, protocol and dtype one run speaks: of the runs with the most rows that still hold
(the variant's sources are the ones that were raced, and its proof is fresh), the newest. A race of a few variants does not
displace a race of all of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from harness.board import report
from harness.board.html import write_page
from harness.race.statistics import paired_ratio, summarise
from registry.cli import add_device, add_kernels_path, guarded, wide_console
from registry.devices import raced_device
from registry.errors import CrucibleError
from registry.fingerprint import source_hash
from registry.machine import machine_key
from registry.records import RESULTS, Champion, Row, Run, Store
from registry.table import Table, discover

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry.variant import Variant

__all__ = ["derive", "main", "parser", "refresh", "standing_runs"]

NOISE = 1.03  # times the fastest: what two copies of one kernel may differ by in the controls of a quiet session
KEY = ["op", "workload", "threads", "protocol", "dtype", "device"]


def _valid_variants(store: Store, table: Table) -> dict[tuple[str, str], str]:
    """Return the sources of every variant whose proof is fresh, by op and name."""
    newest = {(e.op, e.variant): e for e in store.evidence()}
    valid = {}
    for (op, name), evidence in newest.items():
        variant = table.variants.get(op, {}).get(name)
        if variant is not None and evidence.is_fresh(variant) and evidence.status == "passed":
            valid[op, name] = source_hash(variant)
    return valid


def _frame(runs: list[Run], valid: dict[tuple[str, str], str]) -> pd.DataFrame:
    """Return one line per run and row, with whether the row still holds."""
    lines = [
        {
            **{name: getattr(run, name) for name in KEY},
            "run": number,
            "variant": row.variant,
            "yardstick": row.yardstick,
            "holds": bool(row.samples_ms) and not row.yardstick and valid.get((run.op, row.variant)) == row.source,
        }
        for number, run in enumerate(runs)
        for row in run.rows
    ]
    return pd.DataFrame(lines, columns=[*KEY, "run", "variant", "yardstick", "holds"])


def standing_runs(store: Store, table: Table) -> list[Run]:
    """Return the runs that speak, each with only its yardsticks and the rows that still hold."""
    runs, valid = store.runs(), _valid_variants(store, table)
    frame = _frame(runs, valid)
    if frame.empty:
        return []
    counts = frame.groupby([*KEY, "run"], as_index=False)["holds"].sum()
    chosen = counts[counts["holds"] > 0].sort_values(["holds", "run"]).groupby(KEY, sort=True)["run"].last()
    standing = []
    for number in chosen:
        run = runs[int(number)]
        rows = [r for r in run.rows if r.yardstick or (r.samples_ms and valid.get((run.op, r.variant)) == r.source)]
        standing.append(Run.from_json({**run.to_json(), "rows": [r.to_json() for r in rows]}))
    return standing


def _length(variant: Variant) -> int:
    return sum(bool(line.strip()) for line in variant.path.read_text().splitlines())


def _time(row: Row) -> float:
    """Return the lower quartile: what a neighbour on the machine disturbs least."""
    return summarise(row.samples_ms).lower_quartile


def _champion(run: Run, table: Table) -> Champion:
    """Return the fastest variant; of those that tie with it, one without a thread pool of its own, then the shortest.

    A tie is a difference that is small and not decided. A wide interval alone is no tie, only a noisy race.
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
    return [_champion(run, table) for run in standing_runs(store, table)]


def refresh(store: Store, table: Table) -> list[Champion]:
    """Derive the champions anew and write them."""
    champions = derive(store, table)
    store.write_champions(champions)
    return champions


def _check(store: Store, table: Table) -> int:
    derived, written = derive(store, table), store.champions()
    if derived == written:
        Console(stderr=True).print(f"champions.json is what the records give: {len(written)} champions")
        return 0
    keys = {tuple(getattr(c, name) for name in KEY): c for c in written}
    for champion in derived:
        before = keys.pop(tuple(getattr(champion, name) for name in KEY), None)
        if before != champion:
            was = before.variant if before else "nothing"
            Console().print(f"{champion.op} at {champion.workload}: written {was}, derived {champion.variant}", highlight=False)
    for extra in keys.values():
        Console().print(f"{extra.op} at {extra.workload}: written {extra.variant}, derived nothing", highlight=False)
    return 1


def _select(runs: Iterable[Run], names: set[str]) -> list[Run]:
    return [run for run in runs if run.op in names]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.leaderboard", description=__doc__)
    parser.add_argument("--op", default="all", help="an op, a family or a glob")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a self-contained page")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument(
        "--check", action="store_true", help="compare champions.json with what the records give; exit 1 if it differs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="the results folder")
    add_device(parser)
    add_kernels_path(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Show, write or check what the records give; return an exit code."""
    options = parser().parse_args(argv)

    def body() -> int:
        table = discover(*options.kernels_path)
        names = {op.name for op in table.select_ops(options.op)}
        store = Store(options.results, machine_key(raced_device(options.device).name))
        if options.check:
            return _check(store, table)
        refresh(store, table)
        runs = _select(standing_runs(store, table), names)
        if not runs:
            raise CrucibleError(
                f"no race of {options.op} on {store.folder.name} still holds; "
                f"race it with: python -m harness.bench --op {options.op} --device {options.device}"
            )
        if options.html:
            write_page(options.html, runs)
        console = wide_console()
        for run in runs:
            if options.markdown:
                console.out(report.markdown(run), highlight=False)
            else:
                console.print(report.rich_table(run, console.width))
        return 0

    return guarded(body)


if __name__ == "__main__":
    sys.exit(main())
