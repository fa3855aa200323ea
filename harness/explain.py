"""``python -m harness.explain``: why a variant is champion: chosen, runner-up, interval, reason."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.table import Table as RichTable
from rich.text import Text

from registry.cli import add_device, add_kernels_path, guarded, wide_console
from registry.devices import raced_device
from registry.errors import CrucibleError, UnknownNameError
from registry.machine import machine_key
from registry.records import RESULTS, Store
from registry.table import discover

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Print the champions of an op and the reasons; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.explain", description=__doc__)
    parser.add_argument("--op", required=True, help="an op, a family or a glob")
    parser.add_argument(
        "--workload", metavar="NAME", help="one workload only, such as gpt2-124m-b4-t64 or gpt2-124m-b4-t64/qkv"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="the results folder")
    add_device(parser)
    add_kernels_path(parser)
    options = parser.parse_args(argv)

    def body() -> int:
        names = {op.name for op in discover(*options.kernels_path).select_ops(options.op)}
        store = Store(options.results, machine_key(raced_device(options.device).name))
        known = [c for c in store.champions() if c.op in names]
        if not known:
            raise CrucibleError(
                f"{options.op} has no champion on {store.folder.name}; "
                f"race it with: python -m harness.bench --op {options.op} --device {options.device}"
            )
        wanted = [c for c in known if options.workload in (None, c.workload, c.workload.partition("/")[0])]
        if not wanted:
            raise UnknownNameError(f"raced workload of {options.op}", options.workload, (c.workload for c in known))
        table = RichTable(
            "op", "workload", "dtype", "protocol", "threads", "champion", "median", "runner-up", "ratio", "reason"
        )
        for c in wanted:
            ratio = f"{c.ratio:.3f} ({c.ratio_low:.3f} to {c.ratio_high:.3f})" if c.runner_up else ""
            cells = (c.op, c.workload, c.dtype, c.protocol, str(c.threads), c.variant, f"{c.median_ms:.4g} ms")
            table.add_row(*(Text(cell) for cell in (*cells, c.runner_up, ratio, c.reason)))
        wide_console().print(table)
        return 0

    return guarded(body)


if __name__ == "__main__":
    sys.exit(main())
