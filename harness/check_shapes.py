"""``python -m harness.check_shapes``: compare variants with the reference at the shapes of a training run.

The problems of the battery are small, with dims of 1 to some hundred. A training run calls the same variants with a vocabulary
of 50,304 and with 124 million parameters. Before its first update, the trainer starts this command for every call without a
recorded comparison, and reads the records.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.proof.call_at_shape import CallAtShape, limits_for
from harness.proof.cases.memory import CALL_COPIES, require_memory
from harness.proof.reference.oracle import load
from harness.proof.sandbox.client import Worker
from registry.cli import add_kernels_path, add_results, wide_console
from registry.command_parser import CommandParser
from registry.devices import device
from registry.dtypes import DTYPES
from registry.enums import Device, Status
from registry.errors import DONE, FAILED, RequestError, UnknownNameError
from registry.listing import Column, Listing
from registry.machine import machine_key, thread_count
from registry.output import Output, execute
from registry.problem import Problem, parse_problem
from registry.records import Store
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from registry.comparison import Comparison
    from registry.documents import proofs as documents
    from registry.table import Table

__all__ = ["main"]

COLOURS = {Status.PASSED: "green", Status.NOT_COMPARED: "yellow"}
FIELDS = {"op": str, "variant": str, "dims": dict, "params": dict, "dtype": str}


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(
        prog="python -m harness.check_shapes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--calls",
        type=Path,
        metavar="FILE",
        help="a JSON list of calls, each with op, variant, dims, params and dtype; the outcomes are stored as records",
    )
    parser.add_argument("--op", help="with --variant and --problem: compare one call; stores no record without --store")
    parser.add_argument("--variant", metavar="NAME")
    parser.add_argument("--problem", metavar="LINE", help="dims and parameters, pasted from a failure")
    parser.add_argument("--store", action="store_true", help="with --problem: store the outcome as a record")
    parser.add_argument("--threads", type=int, default=thread_count(), metavar="N", help="CPU threads (default: %(default)s)")
    parser.add_argument("--device", default=Device.CPU, metavar="|".join(Device), help="where to run (default: %(default)s)")
    add_results(parser)
    add_kernels_path(parser)
    return parser


def _calls(table: Table, options: argparse.Namespace, place: Device) -> list[CallAtShape]:
    """Return the calls of the command line, sorted by variant.

    Raises
    ------
    RequestError
        The options or the file name no calls, or a variant does not run on the device, or it refuses the problem.
    """
    one = (options.op, options.variant, options.problem)
    if (options.calls is None) == (None in one):
        raise RequestError("name the calls by --calls FILE, or one call by --op OP --variant NAME --problem LINE")
    if options.calls is not None and any(one):
        raise RequestError("--calls FILE names the calls: leave out --op, --variant and --problem")
    if not 1 <= options.threads <= thread_count():
        raise RequestError(f"--threads {options.threads}: this process may use 1 to {thread_count()} cores")
    if options.calls is None:
        variant = table.variant(options.op, options.variant)
        wanted = [(variant, parse_problem(variant.op, options.problem))]
        require_memory(variant.op, wanted[0][1].dims, "--problem", CALL_COPIES)
    else:
        wanted = [
            (table.variant(entry["op"], entry["variant"]), _problem(table, entry, options.calls))
            for entry in _read(options.calls)
        ]
    for variant, problem in wanted:
        if (variant.device == Device.CPU) != (place == Device.CPU):
            other = Device.CPU if variant.device == Device.CPU else Device.SIM
            raise RequestError(f"--device {options.device}: {variant} does not run on this device; use --device {other}")
        if reasons := variant.refusals(problem.dims, problem.params, problem.dtype):
            raise RequestError(f"{variant} refuses {problem}: {'; '.join(reasons)}")
    wanted.sort(key=lambda pair: str(pair[0]))
    paths = tuple(options.kernels_path)
    return [CallAtShape(variant, problem, options.threads, place, paths) for variant, problem in wanted]


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"--calls {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RequestError(f"--calls {str(path)!r} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise RequestError(f"--calls {str(path)!r}: a list of calls is expected, not {type(entries).__name__}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(name), kind) for name, kind in FIELDS.items()):
            raise RequestError(f"--calls {str(path)!r}: call {number} needs op, variant, dims, params and dtype: {entry!r}")
    return entries


def _problem(table: Table, entry: dict[str, Any], path: Path) -> Problem:
    op = table.op(entry["op"])
    for kind, given, wanted in (("dims", entry["dims"], op.domain), ("params", entry["params"], op.params)):
        if given.keys() != set(wanted):
            names = ", ".join(wanted) or "none"
            raise RequestError(f"--calls {str(path)!r}: {kind} of {op.name} are {names}; given: {given!r}")
    if not all(isinstance(size, int) and size >= 0 for size in entry["dims"].values()):
        raise RequestError(f"--calls {str(path)!r}: dims of {op.name} are whole numbers from 0 up; given: {entry['dims']!r}")
    if entry["dtype"] not in DTYPES:
        raise UnknownNameError("dtype", entry["dtype"], DTYPES)
    return Problem(op.name, entry["dims"], entry["params"], entry["dtype"])


def _show(outcomes: Sequence[Comparison], console: Console) -> None:
    keys = (Column(name, key=True) for name in ("op", "variant", "shape"))
    numbers_of = (Column(name, justify="right") for name in ("of tolerance", "seconds"))
    shown = Listing(*keys, "status", "gate", "compared", *numbers_of, title="At the shapes of a training run")
    for one in outcomes:
        status = Text(one.status, style=COLOURS.get(one.status, "red"))
        numbers = (f"{one.worst_over_tolerance:.3g}", f"{one.seconds:.1f}") if one.compared else ("", f"{one.seconds:.1f}")
        shown.add(one.op, one.variant, one.shape, status, one.gate, one.compared, *numbers)
    console.print(shown)
    for one in outcomes:
        if one.status != Status.PASSED:
            at = f" at gate {one.gate!r}" if one.gate else ""
            text = f"{one.op}/{one.variant} {one.status}{at}, {one.shape}: {one.message}\n  reproduce: {one.reproduce}"
            console.print(escape(text), highlight=False, soft_wrap=True)


def _fields(one: Comparison) -> documents.CallFields:
    """Return the record of one call as a part of the document."""
    return {
        "op": one.op,
        "variant": one.variant,
        "source": one.source,
        "contract": one.contract,
        "dims": one.dims,
        "params": one.params,
        "status": one.status,
        "gate": one.gate,
        "message": one.message,
        "dtype": one.dtype,
        "device": one.device,
        "threads": one.threads,
        "compared": one.compared,
        "worst_over_tolerance": min(one.worst_over_tolerance, sys.float_info.max),
        "seconds": one.seconds,
        "reproduce": one.reproduce,
        "machine": one.machine,
        "versions": one.versions,
        "created": one.created,
    }


def _compare(calls: Sequence[CallAtShape], worker: Worker, take: Callable[[Comparison], None]) -> None:
    """Compare the calls; each variant is called while the outputs of the call before are compared."""
    columns = (TextColumn("{task.description:<64}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=wide_console(stderr=True), transient=True) as bar, ThreadPoolExecutor(1) as ahead:
        task = bar.add_task("comparing with the reference", total=len(calls))
        try:
            pending = [ahead.submit(call.call, worker) for call in calls[:1]]
            for number, call in enumerate(calls, start=1):
                called = pending.pop().result()
                pending = [ahead.submit(later.call, worker) for later in calls[number : number + 1]]
                outcome = call.compare(called)
                bar.update(task, advance=1, description=f"{call.variant} {outcome.shape}")
                take(outcome)
        except BaseException:
            worker.stop()  # ends the call that runs, for which no thread waits any more
            raise


def run(options: argparse.Namespace) -> Output:
    """Run the command with parsed options; return its output."""
    place = device(options.device).kind
    table = discover(*options.kernels_path)
    calls = _calls(table, options, place)
    most = max((limits_for(call) for call in calls), key=lambda limits: limits.memory, default=None)
    store = Store(options.results, machine_key(place))
    torch = Thread(target=load)  # the import takes seconds, and runs while the worker starts
    torch.start()
    outcomes: list[Comparison] = []

    def take(outcome: Comparison) -> None:
        outcomes.append(outcome)
        if options.calls is not None or options.store:
            store.add_comparisons(outcome)

    with Worker(options.kernels_path, most) as worker:
        worker.start()
        torch.join()
        _compare(calls, worker, take)
    code = FAILED if any(one.is_failed for one in outcomes) else DONE
    return Output({"results": [_fields(one) for one in outcomes]}, lambda: _show(outcomes, wide_console()), code)


def main(argv: list[str] | None = None) -> int:
    """Compare the calls of the command line; return an exit code."""
    return execute(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
