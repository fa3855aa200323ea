"""``python -m registry``: the ops, their variants, and what is unavailable here and why."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from registry.cli import add_kernels_path, guarded
from registry.fingerprint import source_hash
from registry.table import Table, discover


def listing(table: Table, pattern: str) -> dict[str, Any]:
    """Return the answer of ``--json``."""
    ops = []
    for op in table.select_ops(pattern):
        variants = [
            {
                "variant": v.name,
                "backend": v.backend,
                "device": v.device,
                "available": True,
                "reason": "",
                "source": source_hash(v),
            }
            for v in table.variants[op.name].values()
        ]
        variants += [
            {"variant": f.name, "backend": f.name.partition("_")[0], "device": "", "available": False, "reason": f.reason}
            for f in table.unloadable
            if f.op == op.name
        ]
        ops.append({"op": op.name, "family": op.family, "direction": op.direction.value, "variants": variants})
    return {"ops": ops}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m registry", description=__doc__)
    parser.add_argument("--op", default="all", help="an op, a family or a glob")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    add_kernels_path(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """List the registry; return an exit code."""
    options = parser().parse_args(argv)

    def body() -> int:
        table = discover(*options.kernels_path)
        answer = listing(table, options.op)
        if options.json:
            print(json.dumps(answer))  # noqa: T201 (a command line answers)
        else:
            _print(answer, table)
        return 0

    return guarded(body)


def _print(answer: dict[str, Any], table: Table) -> None:
    shown = RichTable("op", "direction", "variants", title="Ops and their variants")
    for op in answer["ops"]:
        names = [v["variant"] if v["available"] else f"[red]{v['variant']} (not loadable)[/]" for v in op["variants"]]
        shown.add_row(op["op"], op["direction"], ", ".join(names))
    console = Console()
    console.print(shown)
    for failed in table.unloadable:
        console.print(f"[red]not loadable[/] {failed.path}: {failed.reason}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
