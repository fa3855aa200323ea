"""``python -m registry`` lists the ops, their variants, and the files that could not be loaded, with the reasons.

``new OP NAME`` writes the file of a new variant. ``new-op NAME`` writes the folder of a new op. Both print the next commands.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from typing import TYPE_CHECKING

from rich.text import Text

from registry.cli import add_kernels_path, as_folder, wide_console
from registry.command_parser import CommandParser
from registry.fingerprint import source_hash
from registry.listing import Column, Listing
from registry.output import Output, execute
from registry.paths import KERNELS
from registry.scaffold import Scaffold, new_op, new_variant
from registry.table import Table, discover

if TYPE_CHECKING:
    from registry.documents import basic
    from registry.op import Op
    from registry.table import Unloadable


def listing(table: Table, pattern: str) -> basic.Listing:
    """Return the document that ``--json`` prints."""
    ops = table.select_ops(pattern)
    return {"ops": [_listed(op, table) for op in ops], "unloadable": [_unloadable(f) for f in table.unloadable_of(ops)]}


def _listed(op: Op, table: Table) -> basic.ListedOp:
    variants: list[basic.ListedVariant] = [
        {
            "variant": v.name,
            "backend": v.backend,
            "device": v.device,
            "path": str(v.path),
            "available": True,
            "reason": "",
            "source": source_hash(v),
        }
        for v in table.variants[op.name].values()
    ]
    variants += [
        {
            "variant": f.name,
            "backend": f.name.partition("_")[0],
            "device": "",
            "path": str(f.path),
            "available": False,
            "reason": f.reason,
            "source": "",
        }
        for f in table.unloadable_of([op])
        if f.op == op.name
    ]
    return {
        "op": op.name,
        "summary": " ".join((inspect.getdoc(op.reference) or "").split()),
        "family": op.family,
        "direction": op.direction.value,
        "spec": str(KERNELS / op.family / "spec.py"),
        "arguments": [{"name": a.name, "role": a.role.value, "dims": a.dims, "dtype": a.dtype} for a in op.arguments],
        "params": {name: values if isinstance(values, str) else list(values) for name, values in op.params.items()},
        "dtypes": list(op.dtypes),
        "variants": variants,
    }


def _unloadable(failed: Unloadable) -> basic.UnloadableFields:
    return {"path": str(failed.path), "op": failed.op, "variant": failed.name, "reason": failed.reason}


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m registry", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", metavar="new|new-op")
    variant = commands.add_parser("new", help="write the file of a new variant")
    variant.add_argument("name_of_op", metavar="OP", help="the op that the variant computes, such as layer_norm")
    variant.add_argument("name", metavar="NAME", help="<backend>_<idea>, such as numba_two_rows or cuda_warp")
    variant.add_argument("--into", type=as_folder, metavar="DIR", help="a folder of your own (default: the op's folder)")
    op = commands.add_parser("new-op", help="write the folder of a new op")
    op.add_argument("name", metavar="NAME", help="the name of the op, such as rms_norm")
    parser.add_argument("--op", default="all", help="an op, a family or a glob")
    add_kernels_path(parser)
    return parser


def _run(options: argparse.Namespace) -> Output:
    table = discover(*options.kernels_path)
    if options.command is None:
        document = listing(table, options.op)
        return Output(document, lambda: _print(document))
    if options.command == "new":
        scaffold = new_variant(table, options.name_of_op, options.name, options.into)
    else:
        scaffold = new_op(table, options.name)
    written: basic.Scaffolded = {"files": [str(path) for path in scaffold.files], "next": list(scaffold.commands)}
    return Output(written, lambda: _print_written(scaffold))


def main(argv: list[str] | None = None) -> int:
    """List the registry or write new files, and return an exit code."""
    return execute(parser(), _run, argv)


def _print_written(scaffold: Scaffold) -> None:
    console = wide_console()
    for path in scaffold.files:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True, markup=False)
    console.print(
        "next:", *(f"    {command}" for command in scaffold.commands), sep="\n", highlight=False, soft_wrap=True, markup=False
    )


def listing_of(document: basic.Listing) -> Listing:
    """Return the table of ops and variants."""
    shown = Listing(Column("op", key=True), "direction", Column("variants", wrap=True), title="Ops and their variants")
    for op in document["ops"]:
        names = [
            Text(v["variant"]) if v["available"] else Text(f"{v['variant']} (not loadable)", "red") for v in op["variants"]
        ]
        shown.add(op["op"], op["direction"], Text(", ").join(names))
    return shown


def _print(document: basic.Listing) -> None:
    console = wide_console()
    console.print(listing_of(document))
    for failed in document["unloadable"]:
        line = Text.assemble(("not loadable", "red"), f" {failed['path']}: {failed['reason']}")
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
