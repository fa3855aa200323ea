"""``python -m harness.explain``: show each champion with runner-up, interval and reason, or why there is no champion."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness.race import champions
from harness.report.race_fields import champion_fields, undecided_fields
from registry.cli import add_device, add_kernels_path, add_results, wide_console
from registry.command_parser import CommandParser
from registry.commands import Folders, pasted
from registry.devices import raced_device
from registry.errors import CrucibleError, UnknownNameError
from registry.listing import Column, Listing
from registry.machine import machine_key
from registry.output import Output, execute
from registry.records import Store
from registry.table import discover

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from registry.documents import races as documents
    from registry.records import Champion

__all__ = ["listing", "main", "parser"]


def listing(champions: Iterable[Champion]) -> Listing:
    """Return the table that the command prints."""
    keys = (Column(name, key=True) for name in ("op", "workload", "champion", "dtype", "protocol"))
    facts = (Column("threads", justify="right"), Column("median", justify="right"), "runner-up")
    shown = Listing(*keys, *facts, Column("ratio", wrap=True), Column("reason", wrap=True))
    for c in champions:
        ratio = f"{c.ratio:.3f} ({c.ratio_low:.3f} to {c.ratio_high:.3f})" if c.runner_up else ""
        names = (c.op, c.workload, c.variant)
        shown.add(*names, c.dtype, c.protocol, str(c.threads), f"{c.median_ms:.4g} ms", c.runner_up, ratio, c.reason)
    return shown


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m harness.explain", description=__doc__)
    parser.add_argument("--op", required=True, help="an op, a family or a glob")
    parser.add_argument(
        "--workload", metavar="NAME", help="one workload only, such as gpt2-124m-b4-t64 or gpt2-124m-b4-t64/qkv"
    )
    add_results(parser)
    add_device(parser)
    add_kernels_path(parser)
    return parser


def _run(options: argparse.Namespace) -> Output:
    table = discover(*options.kernels_path)
    names = {op.name for op in table.select_ops(options.op)}
    store = Store(options.results, machine_key(raced_device(options.device).kind))
    raced = [s for s in champions.standings(store, table) if s.run.op in names]
    if not raced:
        folders = Folders(tuple(options.kernels_path), options.results)
        raise CrucibleError(
            f"{options.op} has no champion on {store.folder.name}; "
            f"race it with: {pasted('harness.bench', '--op', options.op, '--device', options.device, folders=folders)}"
        )
    selected = [s for s in raced if options.workload in (None, s.run.workload, s.run.workload.partition("/")[0])]
    if not selected:
        raise UnknownNameError(f"raced workload of {options.op}", options.workload, (s.run.workload for s in raced))
    decided = [s.champion for s in selected if s.champion is not None]
    document: documents.Explained = {
        "machine": store.folder.name,
        "champions": [champion_fields(champion) for champion in decided],
        "undecided": [fields for s in selected if (fields := undecided_fields(s, table, options)) is not None],
    }

    def show() -> None:
        console = wide_console()
        if decided:
            console.print(listing(decided))
        for standing in selected:
            if standing.undecided is not None:
                reason = champions.undecided_message(standing, table, options)
                console.print(reason, highlight=False, soft_wrap=True, markup=False)

    return Output(document, show)


def main(argv: list[str] | None = None) -> int:
    """Print the champions of an op and the reasons; return an exit code."""
    return execute(parser(), _run, argv)


if __name__ == "__main__":
    sys.exit(main())
