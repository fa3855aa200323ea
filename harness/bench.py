"""``python -m harness.bench``: race the proven variants of an op against each other and against the baselines.

``--budget`` is the time budget of the whole command: the contestants start and compile, the controls and the roofline are
measured, and the races share the rest. A command may take longer than its time budget, since each race needs some rounds. The
last line of the output shows the time of each part.

Records go to ``results/local/<machine>/``, which git ignores; ``--keep`` writes to the tracked ``results/<machine>/``. A
variant whose outputs are wrong in a race, or that raises or crashes there, loses its proof until its source changes.
"""

from __future__ import annotations

import re
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from harness.race import champions
from harness.race.board import boards_for
from harness.race.compare import FAIL_ON, NOW, compare, comparison_json, fail_on, markdown
from harness.race.controls import SHARE, ControlsError, check_controls, check_quiet
from harness.race.entries import Field, field_for
from harness.race.old_tree import check_out
from harness.race.outcome import BROKEN, Outcome
from harness.race.session import PROTOCOLS, Session
from harness.race.session_gpu import GpuSession
from harness.race.stopwatch import Stopwatch, process_start
from harness.report import boards as report
from harness.report.html import write_page
from harness.report.race_fields import race_fields
from models.workloads import STANDARD_STEP
from registry.cli import add_keep, add_kernels_path, add_results, wide_console
from registry.command_parser import CommandParser
from registry.commands import Folders, pasted
from registry.devices import raced_device
from registry.dtypes import DTYPES
from registry.enums import Device, Status
from registry.errors import DONE, FAILED, EvidenceError, RequestError, UnknownNameError
from registry.machine import machine_key, thread_count
from registry.output import Output, execute
from registry.records import Run, Store, revocation
from registry.table import discover

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from harness.race.board import Board
    from registry.documents import races as documents
    from registry.op import Op
    from registry.record_kinds import Evidence
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["main", "parser"]

BUDGET = "60s"
LEAST_BOARD_S = 0.3
RECORDS_SHARE = 0.05  # share of the time budget for storing and printing after the races
MOST_NAMES = 8  # names of variants in a message
TERMINATED = 128 + signal.SIGTERM


def budget_seconds(text: str) -> float:
    """Read ``60s``, ``2m``, ``1.5m`` or plain seconds.

    Raises
    ------
    RequestError
        The text has another form, or the time is not positive.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|)", text.strip())
    if match is None or not float(match[1]):
        raise RequestError(f"--budget {text!r}: write seconds or minutes, such as 60s or 2m")
    return float(match[1]) * (60 if match[2] == "m" else 1)


@dataclass(frozen=True)
class Request:
    """The checked request of one command."""

    table: Table
    fields: list[Field]
    store: Store
    threads: int
    protocol: str
    budget_s: float
    kernels_path: list[Path]
    place: Device
    watch: Stopwatch

    def outcome(self, store: Store | None) -> Outcome:
        """Return an outcome without records, which stores the records of the races in `store`."""
        return Outcome(self.table, store, self.place, self.kernels_path)

    @property
    def left_s(self) -> float:
        """Seconds of the time budget that are left for races."""
        return (1 - RECORDS_SHARE) * self.budget_s - self.watch.total_s


def _session(options: argparse.Namespace) -> Session:
    place = raced_device(options.device).kind
    if place == Device.CUDA and options.compare:
        raise RequestError("--compare races on the CPU: leave --device out")
    protocol = options.protocol or PROTOCOLS[place][0]
    if protocol not in PROTOCOLS[place]:
        raise UnknownNameError("protocol", protocol, PROTOCOLS[place])
    return (GpuSession if place == Device.CUDA else Session)(options.threads, protocol, options.kernels_path)


def _request(options: argparse.Namespace, session: Session, watch: Stopwatch, errors: Console) -> Request:
    table = discover(*options.kernels_path)
    if options.dtype not in DTYPES:
        raise UnknownNameError("dtype", options.dtype, DTYPES)
    if not 1 <= options.threads <= thread_count():
        raise RequestError(f"--threads {options.threads}: this process may use 1 to {thread_count()} cores")
    budget_s = budget_seconds(options.budget)
    ops = table.select_ops(options.op)
    chosen = table.select(ops, options.variant)
    for failed in table.unloadable_of(ops, options.variant):
        errors.print(f"not loadable: {failed}", highlight=False, markup=False, soft_wrap=True)
    placed = [v for v in chosen if v.device == session.place]
    if not placed:
        raise RequestError(f"--variant {options.variant}: none of these runs on --device {options.device}")
    ops = _storing(ops, placed, options, table)
    chosen = [v for v in placed if v.op in ops]
    proven_on = session.place if session.place == Device.CUDA else None
    store = Store(options.results, machine_key(session.place), keep=options.keep)
    session.recorded = [
        {name: value for name, value in run.roofline.items() if name != "floor_ms"}
        for run in store.runs()
        if (run.threads, run.device) == (session.threads, session.place)
    ]
    named = set((options.variant or "").split(","))
    boards = boards_for(ops, options.workload, options.dims, options.dtype, session.folder)
    wanted = {b.op.name for b in boards}
    for variant in chosen:
        if variant.name in named and variant.op.name in wanted and not options.compare:
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
    if not any(f.candidates for f in fields) and not options.compare:
        on_gpu = ("--device", proven_on) if proven_on else ()
        folders = Folders(tuple(options.kernels_path), options.results)
        raise EvidenceError(
            f"no variant of {options.op} that takes this problem has fresh evidence; "
            f"make it with: {pasted('harness.verify', '--op', options.op, *on_gpu, folders=folders)}"
        )
    return Request(
        table, fields, store, options.threads, session.protocol, budget_s, options.kernels_path, session.place, watch
    )


def _storing(ops: list[Op], placed: list[Variant], options: argparse.Namespace, table: Table) -> list[Op]:
    """Return the ops for which one of the `placed` variants takes the requested dtype."""

    def takes(variant: Variant) -> bool:
        return options.dtype in variant.dtypes and not variant.is_reference

    if possible := [op for op in ops if any(v.op is op and takes(v) for v in placed)]:
        return possible
    elsewhere = [v for v in table.select(ops) if takes(v)]
    places = " and ".join(sorted({v.device for v in elsewhere}))
    names = sorted({v.name for v in elsewhere})
    shown = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
    dtypes = ", ".join(d for d in DTYPES if any(d in op.dtypes for op in ops))
    others = f"these do, with --device {places}: {shown}" if elsewhere else f"the dtypes of {options.op} are {dtypes}"
    raise RequestError(f"--dtype {options.dtype}: no requested variant takes it on --device {options.device}; {others}")


def _race(request: Request, session: Session, progress: Callable[[str, float], None], outcome: Outcome) -> Iterator[Run]:
    """Race one board after the other, and yield the record of each race when it ends.

    If the machine became busy during a race, the race gives no record of times, but its refutations count.
    """
    watch = request.watch
    progress("starting the contestants", 0.0)
    session.start(max(len(f.candidates) for f in request.fields) + 1)
    first = next(f for f in request.fields if f.candidates)
    watch.lap("start")
    check_controls(session, first.candidates, progress, first.board.dtype)
    watch.lap("controls")
    progress("measuring the roofline", 0.0)
    session.measure_roofline()
    watch.lap("roofline")
    waiting = [f for f in request.fields if f.candidates]
    for number, contest in enumerate(waiting):
        board = contest.board
        budget_s = max(request.left_s / (len(waiting) - number), LEAST_BOARD_S)
        entries, loaded_s = contest.entries(session), session.loading_s
        session.race(board, entries, budget_s, _part(progress, board, number, len(waiting)))
        outcome.refute(board, [(e.name, e.status, e.note) for e in entries])
        try:
            check_quiet(session)
        except ControlsError as error:
            outcome.refused.append(ControlsError(f"the race of {board.op.name} at {board.workload} was not stored: {error}"))
        else:
            yield contest.run(session, entries)
        watch.lap("races", "loading and compiling", session.loading_s - loaded_s)


def _part(progress: Callable[[str, float], None], board: Board, number: int, boards: int) -> Callable[[str, float], None]:
    """Return a function that reports the progress of one board as a part of the whole command."""
    name = f"{board.op.name} at {board.workload}"
    return lambda activity, done: progress(f"{name}: {activity}", (number + done) / boards)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar, and yield the function that updates it."""
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.description}"))
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def progress(activity: str, done: float) -> None:
            bar.update(task, description=activity, completed=done)
            bar.refresh()

        yield progress


def _compare(options: argparse.Namespace, request: Request, session: Session, errors: Console) -> Output:
    old, watched = check_out(options.compare), fail_on(options.fail_on)
    with _shown(errors) as progress:

        def begin(variant: Variant) -> None:
            progress("starting the contestants", 0.0)
            session.start(2)
            request.watch.lap("start")
            check_controls(session, [variant], progress)
            request.watch.lap("controls")

        compared = list(compare(session, request.fields, old, request.left_s, begin, progress))
    request.watch.lap("races")
    outcome = request.outcome(None if options.no_store else request.store)
    for board in (field.board for field in request.fields):
        here = [c for c in compared if (c.op, c.workload) == (board.op.name, board.workload)]
        outcome.refute(board, [(c.variant, Status(c.verdict), c.note) for c in here if c.note.startswith(NOW)])
    _say_rest(request, outcome, errors)

    def show() -> None:
        print(markdown(compared, options.compare, old.commit, machine_key()))  # noqa: T201 (the output of the command)

    bad = any(c.verdict in {*BROKEN, Status.UNLOADABLE, *watched} for c in compared)
    return Output(comparison_json(compared, options.compare, old.commit), show, FAILED if bad else DONE)


def _run(options: argparse.Namespace, watch: Stopwatch) -> Output:
    errors = Console(stderr=True)
    if fail_on(options.fail_on) and not options.compare:
        raise RequestError("--fail-on names verdicts of --compare: give --compare REV too")
    with _session(options) as session:
        request = _request(options, session, watch, errors)
        if options.compare:
            return _compare(options, request, session, errors)
        outcome = request.outcome(None if options.no_store else request.store)
        with _shown(errors) as progress:
            try:
                for run in _race(request, session, progress, outcome):
                    outcome.add(run)
            finally:
                if (outcome.runs or outcome.refuted) and outcome.store is not None:
                    champions.refresh(request.store, request.table)
    watch.lap("records")
    if options.html and outcome.runs:
        write_page(options.html, outcome.runs)
    broken = [f"{run.op}/{row.variant} {row.status}" for run in outcome.runs for row in run.rows if row.status in BROKEN]
    if broken:
        errors.print(f"error: {', '.join(broken)}", highlight=False)
    _say_undecided(options, request, outcome, errors)
    _say_rest(request, outcome, errors)

    def show() -> None:
        if outcome.runs:
            _show(request, outcome.runs, stored=outcome.store is not None)

    bad = broken or outcome.refused or outcome.refuted
    return Output(_document(options, request, outcome), show, FAILED if bad else DONE)


def _document(options: argparse.Namespace, request: Request, outcome: Outcome) -> documents.Races:
    """Return the document of ``--json``."""
    return {
        "races": [race_fields(run, request.table, options) for run in outcome.runs],
        "not_raced": _not_raced(request),
        "refused": [str(error) for error in outcome.refused],
        "revoked": [
            {"op": e.op, "variant": e.variant, "message": _revocation(request, e), "reproduce": e.reproduce}
            for e in outcome.refuted
        ],
        "seconds": request.watch.parts,
        "stored": str(request.store.folder) if outcome.store is not None else None,
    }


def _not_raced(request: Request) -> list[str]:
    return sorted({f.board.op.name for f in request.fields if not f.candidates})


def _revocation(request: Request, evidence: Evidence) -> str:
    return revocation(request.table.variant(evidence.op, evidence.variant), evidence)


def _say_undecided(options: argparse.Namespace, request: Request, outcome: Outcome, errors: Console) -> None:
    """Print a message for each race that decides no champion."""
    present = {champion.key: champion for champion in request.store.champions()}
    for run in outcome.runs:
        if undecided := champions.undecided_of(run, request.table):
            key = tuple(getattr(run, name) for name in champions.KEY)
            standing = champions.Standing(run, present.get(key), undecided)
            reason = champions.undecided_message(standing, request.table, options)
            errors.print(reason, highlight=False, soft_wrap=True, markup=False)


def _say_rest(request: Request, outcome: Outcome, errors: Console) -> None:
    """Print the races without a record, the revoked proofs, and the time that each part of the command took."""
    revoked = [_revocation(request, e) for e in outcome.refuted]
    lines = [f"error: {line}" for line in (*outcome.refused, *revoked)]
    for line in [*lines, request.watch.report(request.budget_s)]:
        errors.print(line, highlight=False, soft_wrap=True, markup=False)


def _show(request: Request, runs: list[Run], *, stored: bool) -> None:
    console = wide_console()
    for run in runs:
        console.print(report.listing(run, console.width))
    if idle := _not_raced(request):
        console.print(f"not raced, since no variant has fresh evidence: {', '.join(idle)}", highlight=False)
    controls = runs[0].controls
    values = f"two copies {controls['a_a']:.3f}, called twice {controls['twice']:.3f}, "
    values += f"empty call {controls['floor_us']:.2f} us"
    if SHARE in controls:
        values += f", each thread got {controls[SHARE]:.0%} of a core"
    place = f"stored in {request.store.folder}" if stored else "not stored"
    console.print(f"controls: {values}; {place}", highlight=False)


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m harness.bench", description=__doc__)
    parser.add_argument("--op", default="all", help="an op, a family or a glob")
    parser.add_argument("--variant", metavar="A,B", help="names or globs of the variants to race (default: all)")
    parser.add_argument(
        "--workload",
        metavar="NAME",
        help=f"MODEL-bBATCH-tSEQUENCE, with /LABEL for one call (default: {STANDARD_STEP}, or the op's examples)",
    )
    parser.add_argument("--dims", metavar="'N=256 C=768'", help="a shape of your own instead of a workload")
    parser.add_argument("--dtype", default="float32", metavar="NAME", help=", ".join(DTYPES))
    parser.add_argument(
        "--threads", type=int, default=thread_count(), metavar="N", help="threads of each contestant (default: all cores)"
    )
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda", help="the device of the race (default: %(default)s)")
    protocols = "; ".join(f"{place}: {' or '.join(names)}" for place, names in PROTOCOLS.items())
    parser.add_argument("--protocol", metavar="NAME", help=f"{protocols} (default: the first of the device)")
    parser.add_argument("--budget", default=BUDGET, metavar="TIME", help="time budget of the whole command, such as 60s or 2m")
    parser.add_argument(
        "--compare", metavar="REV", help="race against the kernels of a git revision; prints Markdown, stores no time"
    )
    parser.add_argument(
        "--fail-on",
        metavar="|".join(FAIL_ON),
        help="with --compare: return 1 if a variant has one of these verdicts; several are separated by commas",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a self-contained HTML page")
    parser.add_argument("--no-store", action="store_true", help="store no record")
    add_results(parser)
    add_keep(parser)
    add_kernels_path(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Race; return an exit code."""
    watch = Stopwatch(process_start()) if argv is None else Stopwatch()
    return execute(parser(), lambda options: _run(options, watch), argv)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # an exit removes the drawn values from /dev/shm
    sys.exit(main())
