"""``python -m registry`` lists the ops, their variants, and the files that could not be loaded, with the reasons.

``new OP NAME`` writes the file of a new variant. ``new-op NAME`` writes the folder of a new op. Both print the next commands.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.text import Text

from registry.cli import add_kernels_path, as_folder, guarded, wide_console
from registry.fingerprint import source_hash
from registry.listing import Column, Listing
from registry.scaffold import new_op, new_variant
from registry.table import Table, discover


def listing(table: Table, pattern: str) -> dict[str, Any]:
    """Return the document that ``--json`` prints."""
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
            for f in table.unloadable_of([op])
            if f.op == op.name
        ]
        ops.append({"op": op.name, "family": op.family, "direction": op.direction.value, "variants": variants})
    unloadable = [
        {"path": str(f.path), "op": f.op, "variant": f.name, "reason": f.reason}
        for f in table.unloadable_of(table.select_ops(pattern))
    ]
    return {"ops": ops, "unloadable": unloadable}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m registry", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="new|new-op")
    variant = commands.add_parser("new", help="write the file of a new variant")
    variant.add_argument("name_of_op", metavar="OP", help="the op that the variant computes, such as layer_norm")
    variant.add_argument("name", metavar="NAME", help="<backend>_<idea>, such as numba_two_rows or cuda_warp")
    variant.add_argument("--into", type=as_folder, metavar="DIR", help="a folder of your own (default: the op's folder)")
    op = commands.add_parser("new-op", help="write the folder of a new op")
    op.add_argument("name", metavar="NAME", help="the name of the op, such as rms_norm")
    parser.add_argument("--op", default="all", help="an op, a family or a glob")
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    add_kernels_path(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """List the registry or write new files, and return an exit code."""
    options = parser().parse_args(argv)

    def body() -> int:
        table = discover(*options.kernels_path)
        if options.command:
            _write(options, table)
            return 0
        document = listing(table, options.op)
        if options.json:
            print(json.dumps(document))  # noqa: T201 (the output of the command)
        else:
            _print(document)
        return 0

    return guarded(body)


def _write(options: argparse.Namespace, table: Table) -> None:
    if options.command == "new":
        scaffold = new_variant(table, options.name_of_op, options.name, options.into)
    else:
        scaffold = new_op(table, options.name)
    console = wide_console()
    for path in scaffold.files:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True, markup=False)
    console.print(
        "next:", *(f"    {command}" for command in scaffold.commands), sep="\n", highlight=False, soft_wrap=True, markup=False
    )


def listing_of(document: dict[str, Any]) -> Listing:
    """Return the table of ops and variants."""
    shown = Listing(Column("op", key=True), "direction", Column("variants", wrap=True), title="Ops and their variants")
    for op in document["ops"]:
        names = [
            Text(v["variant"]) if v["available"] else Text(f"{v['variant']} (not loadable)", "red") for v in op["variants"]
        ]
        shown.add(op["op"], op["direction"], Text(", ").join(names))
    return shown


def _print(document: dict[str, Any]) -> None:
    console = wide_console()
    console.print(listing_of(document))
    for failed in document["unloadable"]:
        line = Text.assemble(("not loadable", "red"), f" {failed['path']}: {failed['reason']}")
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
