"""``python -m harness.leaderboard``: show the boards and write the champions, both derived from runs and evidence.

`harness.race.champions` contains the rule.

The command writes the champions to the user's records in ``results/local/<machine>/``. With ``--keep``, it derives the tracked
champions from the tracked records alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.race.champions import derive, standings, undecided_message
from harness.report import boards as report
from harness.report.html import write_page
from harness.report.race_fields import standing_fields
from registry.cli import add_device, add_keep, add_kernels_path, add_results, wide_console
from registry.command_parser import CommandParser
from registry.commands import Folders, pasted
from registry.devices import raced_device
from registry.errors import DONE, FAILED, CrucibleError
from registry.machine import machine_key
from registry.output import Output, execute
from registry.records import Store
from registry.table import Table, discover

if TYPE_CHECKING:
    import argparse

    from registry.documents import races as documents
    from registry.records import Champion

__all__ = ["main", "parser"]


def _check(store: Store, table: Table) -> Output:
    """Compare the champions on file with those that follow from the records."""
    derived, written = {c.key: c for c in derive(store, table)}, {c.key: c for c in store.champions()}
    differing = [key for key in {**derived, **written} if derived.get(key) != written.get(key)]

    def name(champion: Champion | None) -> str | None:
        return champion.variant if champion else None

    document: documents.Checked = {
        "champions": len(written),
        "differences": [
            {"op": key[0], "workload": key[1], "written": name(written.get(key)), "derived": name(derived.get(key))}
            for key in differing
        ],
    }

    def show() -> None:
        if not differing:
            Console(stderr=True).print(f"champions.json agrees with the records: {len(written)} champions")
        for one in document["differences"]:
            before, now = one["written"] or "nothing", one["derived"] or "nothing"
            Console().print(f"{one['op']} at {one['workload']}: written {before}, derived {now}", highlight=False)

    return Output(document, show, FAILED if differing else DONE)


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m harness.leaderboard", description=__doc__)
    parser.add_argument("--op", default="all", help="an op, a family or a glob")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a self-contained HTML page")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument(
        "--check",
        action="store_true",
        help="derive the champions from the tracked records; exit 1 if the tracked champions.json differs",
    )
    parser.add_argument(
        "--compact", action="store_true", help="first drop the proofs of older sources, and those that a later proof replaced"
    )
    add_results(parser)
    add_keep(parser)
    add_device(parser)
    add_kernels_path(parser)
    return parser


def _run(options: argparse.Namespace) -> Output:
    table = discover(*options.kernels_path)
    names = {op.name for op in table.select_ops(options.op)}
    machine = machine_key(raced_device(options.device).kind)
    store = Store(options.results, machine, keep=options.keep or options.check)
    if options.check:
        return _check(store, table)
    if options.compact:
        before, after = store.compact_evidence()
        wide_console(stderr=True).print(f"kept {after} of {before} proofs in {store.folder}", highlight=False, soft_wrap=True)
    every = standings(store, table)
    store.write_champions(s.champion for s in every if s.champion is not None)
    selected = [s for s in every if s.run.op in names]
    runs = [s.run for s in selected]
    if not runs:
        folders = Folders(tuple(options.kernels_path), options.results)
        raise CrucibleError(
            f"no race of {options.op} on {store.folder.name} has a valid row; "
            f"race it with: {pasted('harness.bench', '--op', options.op, '--device', options.device, folders=folders)}"
        )
    if options.html:
        write_page(options.html, runs)
    document: documents.Leaderboard = {
        "machine": store.folder.name,
        "races": [standing_fields(standing, table, options) for standing in selected],
        "stored": str(store.folder),
    }

    def show() -> None:
        console = wide_console()
        for run in runs:
            if options.markdown:
                console.out(report.markdown(run), highlight=False)
            else:
                console.print(report.listing(run, console.width))
        for standing in selected:
            if standing.undecided is not None:
                Console(stderr=True).print(
                    undecided_message(standing, table, options), highlight=False, soft_wrap=True, markup=False
                )

    return Output(document, show)


def main(argv: list[str] | None = None) -> int:
    """Show the boards and write or check the champions; return an exit code."""
    return execute(parser(), _run, argv)


if __name__ == "__main__":
    sys.exit(main())
