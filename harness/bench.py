"""``python -m harness.bench``: race the proven variants of an op against each other and against the yardsticks.

``--json`` prints one document: ``{"op", "protocol", "threads", "controls", "roofline", "boards": [...]}``, or
``{"races": [...]}`` of such documents where ``--op`` stands for several ops. The budget is for the whole command.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from harness import leaderboard
from harness.board import report
from harness.board.html import write_page
from harness.race.board import boards_for
from harness.race.compare import compare, comparison_json, markdown
from harness.race.controls import check_controls
from harness.race.entries import Field, field_for
from harness.race.old_tree import check_out
from harness.race.session import PROTOCOLS, Session
from harness.race.session_gpu import GpuSession
from registry.cli import add_kernels_path, guarded
from registry.devices import raced_device
from registry.dtypes import DTYPES
from registry.errors import EvidenceError, RequestError, UnknownNameError
from registry.machine import machine_key, thread_count
from registry.records import RESULTS, Run, Store
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.race.board import Board
    from registry.op import Op
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["main", "parser"]

WORKLOAD, BUDGET = "gpt2-124m-b4-t64", "60s"
LEAST_BOARD_S = 0.3
MOST_NAMES = 8  # of variants, in a message
TERMINATED = 128 + signal.SIGTERM
BROKEN = ("wrong", "unchecked", "failed", "crashed", "hung")


def budget_seconds(text: str) -> float:
    """Read ``60s``, ``2m``, ``1.5m`` or plain seconds.

    Raises
    ------
    RequestError
        It is none of these, or not positive.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|)", text.strip())
    if match is None or not float(match[1]):
        raise RequestError(f"--budget {text!r}: write seconds or minutes, such as 60s or 2m")
    return float(match[1]) * (60 if match[2] == "m" else 1)


@dataclass(frozen=True)
class Request:
    """What one command asked for, already checked."""

    table: Table
    fields: list[Field]
    store: Store
    threads: int
    protocol: str
    budget_s: float
    kernels_path: list[Path]


def _session(options: argparse.Namespace) -> Session:
    place = raced_device(options.device).name
    if place == "cuda" and options.compare:
        raise RequestError("--compare races on the CPU: leave --device out")
    protocol = options.protocol or PROTOCOLS[place][0]
    if protocol not in PROTOCOLS[place]:
        raise UnknownNameError("protocol", protocol, PROTOCOLS[place])
    return (GpuSession if place == "cuda" else Session)(options.threads, protocol, options.kernels_path)


def _request(options: argparse.Namespace, session: Session) -> Request:
    table = discover(*options.kernels_path)
    if options.dtype not in DTYPES:
        raise UnknownNameError("dtype", options.dtype, DTYPES)
    if not 1 <= options.threads <= thread_count():
        raise RequestError(f"--threads {options.threads}: this process may use 1 to {thread_count()} cores")
    budget_s = budget_seconds(options.budget)
    ops = table.select_ops(options.op)
    chosen = table.select(ops, options.variant)
    placed = [v for v in chosen if v.device == session.place]
    if not placed:
        raise RequestError(f"--variant {options.variant}: none of these runs on --device {options.device}")
    ops = _storing(ops, placed, options, table)
    chosen = [v for v in placed if v.op in ops]
    proven_on = "cuda" if session.place == "cuda" else ""
    store = Store(options.results, machine_key(session.place))
    named = set((options.variant or "").split(","))
    boards = boards_for(ops, options.workload, options.dims, options.dtype, session.folder)
    wanted = {b.op.name for b in boards}
    for variant in chosen:
        if variant.name in named and variant.op.name in wanted:
            store.require_proof(variant, proven_on)

    @cache
    def gap(variant: Variant) -> str:
        try:
            store.require_proof(variant, proven_on)
        except EvidenceError as error:
            return str(error)
        return ""

    fields = [field_for(board, table, [v for v in chosen if v.op is board.op], gap, session.place) for board in boards]
    fields = [f for f in fields if f.named]
    if not any(f.candidates for f in fields):
        raise EvidenceError(
            f"no variant of {options.op} that takes this problem has fresh evidence; "
            f"make it with: python -m harness.verify --op {options.op}" + (" --device cuda" if proven_on else "")
        )
    return Request(table, fields, store, options.threads, session.protocol, budget_s, options.kernels_path)


def _storing(ops: list[Op], placed: list[Variant], options: argparse.Namespace, table: Table) -> list[Op]:
    """Return the ops that one of the `placed` variants does in the wanted dtype."""

    def takes(variant: Variant) -> bool:
        return options.dtype in variant.dtypes and not variant.is_definition

    if found := [op for op in ops if any(v.op is op and takes(v) for v in placed)]:
        return found
    there = [v for v in table.select(ops) if takes(v)]
    places = " and ".join(sorted({"cpu" if v.device == "host" else v.device for v in there}))
    names = sorted({v.name for v in there})
    shown = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
    stored = ", ".join(d for d in DTYPES if any(d in op.dtypes for op in ops))
    others = f"these do, with --device {places}: {shown}" if there else f"problems of {options.op} are stored in {stored}"
    raise RequestError(f"--dtype {options.dtype}: nothing that was asked for takes it on --device {options.device}; {others}")


def _race(request: Request, session: Session, progress: Callable[[str, float], None]) -> Iterator[Run]:
    """Race one board after the other, and yield the record of each as soon as it is made."""
    start = time.monotonic()
    session.start(max(len(f.candidates) for f in request.fields) + 1)
    first = next(f for f in request.fields if f.candidates)
    progress("starting the contestants", 0.0)
    check_controls(session, first.candidates, progress, first.board.dtype)
    progress("measuring the roofline", 0.0)
    session.measure_roofline()
    waiting = [f for f in request.fields if f.candidates]
    for number, field in enumerate(waiting):
        left = request.budget_s - (time.monotonic() - start)
        budget_s = max(left / (len(waiting) - number), LEAST_BOARD_S)
        entries = field.entries(session)
        session.race(field.board, entries, budget_s, _part(progress, field.board, number, len(waiting)))
        yield field.run(session, entries)


def _part(progress: Callable[[str, float], None], board: Board, number: int, boards: int) -> Callable[[str, float], None]:
    """Return the progress of one board as a part of the whole."""
    name = f"{board.op.name} at {board.workload}"
    return lambda what, done: progress(f"{name}: {what}", (number + done) / boards)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar, and yield what moves it."""
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.description}"))
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def progress(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done)
            bar.refresh()

        yield progress


def _compare(options: argparse.Namespace, request: Request, session: Session, errors: Console) -> int:
    old = check_out(options.compare)
    with _shown(errors) as progress:

        def begin(variant: Variant) -> None:
            progress("starting the contestants", 0.0)
            session.start(2)
            check_controls(session, [variant], progress)

        found = list(compare(session, request.fields, old, request.budget_s, begin, progress))
    answer = comparison_json(found, options.compare, old.commit)
    told = json.dumps(answer) if options.json else markdown(found, options.compare, old.commit, machine_key())
    print(told)  # noqa: T201 (a command line answers)
    return 1 if any(c.verdict in BROKEN for c in found) else 0


def _run(options: argparse.Namespace) -> int:
    errors = Console(stderr=True)
    with _session(options) as session:
        request = _request(options, session)
        if options.compare:
            return _compare(options, request, session, errors)
        with _shown(errors) as progress:
            runs = []
            try:
                for run in _race(request, session, progress):
                    runs.append(run)
                    if not options.no_store:
                        request.store.add_run(run)
            finally:
                if runs and not options.no_store:
                    leaderboard.refresh(request.store, request.table)
    if options.html:
        write_page(options.html, runs)
    if options.json:
        print(json.dumps(report.document(runs)))  # noqa: T201 (a command line answers)
    else:
        _show(request, runs, stored=not options.no_store)
    broken = [f"{run.op}/{row.variant} {row.status}" for run in runs for row in run.rows if row.status in BROKEN]
    if broken:
        errors.print(f"error: {', '.join(broken)}", highlight=False)
    return 1 if broken else 0


def _show(request: Request, runs: list[Run], *, stored: bool) -> None:
    console = Console()
    for run in runs:
        console.print(report.rich_table(run, console.width))
    idle = sorted({f.board.op.name for f in request.fields if not f.candidates})
    if idle:
        console.print(f"not raced, since no variant has fresh evidence: {', '.join(idle)}", highlight=False)
    read = runs[0].controls
    told = f"two copies {read['a_a']:.3f}, called twice {read['twice']:.3f}, empty call {read['floor_us']:.2f} us"
    kept = f"stored in {request.store.folder}" if stored else "not stored"
    console.print(f"controls: {told}; {kept}", highlight=False)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.bench", description=__doc__)
    parser.add_argument("--op", default="all", help="an op, a family or a glob")
    parser.add_argument("--variant", metavar="A,B", help="names or globs of the variants to race (default: all)")
    parser.add_argument("--workload", default=WORKLOAD, metavar="NAME", help="MODEL-bBATCH-tSEQUENCE, with /LABEL for one call")
    parser.add_argument("--dims", metavar="'N=256 C=768'", help="a shape of your own instead of a workload")
    parser.add_argument("--dtype", default="float32", metavar="NAME", help=", ".join(DTYPES))
    parser.add_argument(
        "--threads", type=int, default=thread_count(), metavar="N", help="one count for all (default: all cores)"
    )
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda", help="where to race (default: %(default)s)")
    protocols = "; ".join(f"{place}: {' or '.join(names)}" for place, names in PROTOCOLS.items())
    parser.add_argument("--protocol", metavar="NAME", help=f"{protocols} (default: the first of the device)")
    parser.add_argument("--budget", default=BUDGET, metavar="TIME", help="for the whole command, such as 60s or 2m")
    parser.add_argument("--compare", metavar="REV", help="race against the kernels of a git revision; Markdown, nothing stored")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a self-contained page")
    parser.add_argument("--no-store", action="store_true", help="keep no record")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="the results folder")
    add_kernels_path(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Race; return an exit code."""
    options = parser().parse_args(argv)
    return guarded(lambda: _run(options))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # the drawn values lie in shared memory: take them along
    sys.exit(main())
