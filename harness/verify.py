"""``python -m harness.verify``: prove variants, and store the evidence that the race and the trainer require.

Evidence is stored in ``results/local/<machine>/``, which git ignores; with ``--keep``, in the tracked ``results/<machine>/``.
"""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.proof.cases.memory import require_memory
from harness.proof.plan import Plan
from harness.proof.prove_all import prove_all
from harness.proof.sandbox.client import Worker
from registry.cli import add_keep, add_kernels_path, add_results, wide_console
from registry.command_parser import CommandParser
from registry.commands import Folders, pasted
from registry.devices import device, kind_of
from registry.dtypes import DTYPES
from registry.enums import Device, Status
from registry.errors import DONE, FAILED, RequestError, UnknownNameError
from registry.fingerprint import Snapshot
from registry.listing import Column, Listing
from registry.machine import machine_key, thread_count, versions
from registry.output import Output, execute
from registry.problem import parse_problem
from registry.profiles import PROFILES
from registry.records import Evidence, Store, revocation
from registry.table import Unloadable, discover

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from rich.console import Console

    from harness.proof.result import Proof
    from registry.documents import proofs as documents
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["evidence_of", "main"]

AT_ONCE = 2  # workers that share the problems of a single variant
MOST_NAMES = 8  # names of variants in a message
COLOURS = {Status.PASSED: "green", Status.REFUSED: "yellow", Status.PARTIAL: "yellow"}


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m harness.verify", description=__doc__)
    parser.add_argument("--op", required=True, metavar="PATTERN", help="an op, a family, a glob, or all")
    parser.add_argument("--variant", metavar="A,B", help="names or globs of variants; without it, all of them")
    parser.add_argument("--profile", default="dev", choices=PROFILES, help="how many problems are drawn (default: %(default)s)")
    parser.add_argument("--examples", type=int, metavar="N", help="random problems per variant (default: by profile)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random problems (default: %(default)s)")
    parser.add_argument(
        "--dtype",
        metavar="NAME",
        help=f"problems of this dtype alone: {' or '.join(DTYPES)}; stores no evidence",
    )
    parser.add_argument("--problem", metavar="LINE", help="check one problem, pasted from a failure; stores nothing")
    parser.add_argument(
        "--device",
        metavar="|".join(Device),
        help="where to run (default: cpu; sim for CUDA variants that --variant names)",
    )
    add_results(parser)
    add_keep(parser)
    add_kernels_path(parser)
    return parser


def _placed(variants: list[Variant], options: argparse.Namespace) -> list[Variant]:
    """Return the variants that run on the device of the options."""
    if options.device is None and options.variant:
        return variants
    on_cpu = options.device in (None, Device.CPU)
    placed = [v for v in variants if (v.device == Device.CPU) == on_cpu]
    if not placed:
        where, other = ("a GPU", Device.SIM) if on_cpu else ("the CPU", Device.CPU)
        names = ", ".join(sorted({v.name for v in variants}))
        raise RequestError(f"--device {options.device}: {names} of {options.op} run on {where}; use --device {other}")
    return placed


def _narrowed(variants: list[Variant], dtype: str | None) -> list[Variant]:
    """Return the variants that take `dtype`, restricted to this dtype; all variants if `dtype` is None."""
    if dtype is None:
        return variants
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES)
    able = [v for v in variants if dtype in v.dtypes]
    if not able:
        dtypes = ", ".join(sorted({d for v in variants for d in v.dtypes}))
        names = sorted({str(v) for v in variants})
        names = [*names[:MOST_NAMES], "..."] if len(names) > MOST_NAMES else names
        raise RequestError(f"--dtype {dtype}: no named variant takes it ({', '.join(names)}); they take {dtypes}")
    return [v if v.dtypes == (dtype,) else dataclasses.replace(v, dtypes=(dtype,)) for v in able]


def evidence_of(proof: Proof, plan: Plan) -> Evidence:
    """Return the record of a proof."""
    place = kind_of(proof.variant, gpu=plan.gpu)
    return Evidence(
        op=proof.variant.op.name,
        variant=proof.variant.name,
        source=proof.source,
        contract=proof.contract,
        status=proof.status,
        gate=proof.gate,
        device=place,
        machine=machine_key(place),
        versions=versions(place),
        profile=plan.profile,
        problems=proof.problems,
        seed=plan.seed,
        worst_over_tolerance=_finite(proof.worst_over_tolerance),
        fakes_rejected=proof.tally.score,
        seconds=round(proof.seconds, 3),
        reproduce=proof.reproduce,
        rechecked=[str(problem) for problem in proof.recheck],
    )


def _finite(ratio: float) -> float:
    """Return a number that JSON can hold: the largest float instead of infinity."""
    return min(ratio, sys.float_info.max)


def _as_json(proof: Proof, plan: Plan, revoked: str, *, stored: bool) -> documents.ProofFields:
    return {
        "op": proof.variant.op.name,
        "variant": proof.variant.name,
        "device": kind_of(proof.variant, gpu=plan.gpu),
        "status": proof.status,
        "gate": proof.gate,
        "problems": proof.problems,
        "problem": str(proof.problem) if proof.problem else None,
        "message": proof.message,
        "reproduce": proof.reproduce,
        "worst_over_tolerance": _finite(proof.worst_over_tolerance),
        "fakes_rejected": proof.tally.score,
        "seconds": round(proof.seconds, 3),
        "stored": stored,
        "revoked": revoked,
    }


def _unloadable_as_json(failed: Unloadable, folders: Folders) -> documents.ProofFields:
    return {
        "op": failed.op,
        "variant": failed.name,
        "device": Device.CPU,
        "status": Status.UNLOADABLE,
        "gate": "contract",
        "problems": 0,
        "problem": None,
        "message": str(failed),
        "reproduce": pasted("registry", "--op", failed.op or "all", folders=folders),
        "worst_over_tolerance": 0.0,
        "fakes_rejected": 0.0,
        "seconds": 0.0,
        "stored": False,
        "revoked": "",
    }


def _show(proofs: Iterable[Proof], unloadable: Iterable[Unloadable], console: Console, *, single: bool) -> None:
    numbers_of = (Column(name, justify="right") for name in ("problems", "of tolerance", "fakes rejected", "seconds"))
    keys = Column("op", key=True), Column("variant", key=True)
    shown = Listing(*keys, "status", "gate", *numbers_of, title="The battery")
    proofs = list(proofs)
    for proof in proofs:
        status = Text(proof.status, style=COLOURS.get(proof.status, "red"))
        numbers = str(proof.problems), f"{proof.worst_over_tolerance:.3g}", f"{proof.tally.score:.0%}", f"{proof.seconds:.1f}"
        shown.add(proof.variant.op.name, proof.variant.name, status, proof.gate, *numbers)
    for failed in unloadable:
        shown.add(failed.op, failed.name, Text("not loadable", style="red"), "contract", "", "", "", "")
    console.print(shown)
    for failed in unloadable:
        console.print(f"[red]not loadable[/] {escape(str(failed))}", highlight=False, soft_wrap=True)
    for proof in proofs:
        if not proof.passed:
            console.print(escape(str(proof)), highlight=False, soft_wrap=True)
        elif proof.tally.survivors and not single:
            console.print(
                f"{proof.variant}: fake kernels not rejected: {', '.join(proof.tally.survivors)}",
                highlight=False,
                soft_wrap=True,
            )


def _unloadable(table: Table, options: argparse.Namespace) -> list[Unloadable]:
    """Return the files of the named ops and variants that could not be loaded."""
    return [] if options.problem else table.unloadable_of(table.select_ops(options.op), options.variant)


def run(options: argparse.Namespace) -> Output:
    """Run the command with parsed options; return its output."""
    gpu = device(options.device or Device.CPU).kind == Device.CUDA
    if options.examples is not None and options.examples < 1:
        raise RequestError(f"--examples {options.examples}: draw at least one problem")
    sources = Snapshot(tuple(options.kernels_path))  # before any process imports the files
    with ExitStack() as stack:
        count = 1 if options.problem else min(thread_count(), AT_ONCE)
        workers = [stack.enter_context(Worker(options.kernels_path, sources=sources)) for _ in range(count)]
        for worker in workers:
            worker.start()  # its imports run beside those of this process
        table = discover(*options.kernels_path)
        plan = Plan(
            profile=options.profile,
            examples=options.examples,
            seed=options.seed,
            kernels_path=tuple(options.kernels_path),
            results=options.results,
            gpu=gpu,
            sources=sources,
        )
        return _prove(options, table, workers, plan)


def _prove(options: argparse.Namespace, table: Table, workers: list[Worker], plan: Plan) -> Output:
    ops = table.select_ops(options.op)
    if options.problem and options.op in table.ops:
        ops = [table.op(options.op)]
    placed = _placed(table.select(ops, options.variant), options)
    variants = _narrowed(placed, options.dtype)
    problem = None
    store = Store(options.results, machine_key(Device.CUDA if plan.gpu else Device.CPU), keep=options.keep)
    if options.problem:
        if len(ops) > 1:
            raise RequestError(f"--problem needs one op, and --op {options.op!r} matches {len(ops)}")
        problem = parse_problem(ops[0], options.problem)
        require_memory(ops[0], problem.dims, "--problem")
        if options.dtype not in {None, problem.dtype}:
            raise RequestError(f"--dtype {options.dtype}, but the problem says dtype={problem.dtype}")
    console = wide_console()
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting workers", total=len(variants))

        def report(proof: Proof) -> None:
            progress.update(task, advance=1, description=str(proof.variant))

        proofs = prove_all(variants, plan, report, problem, workers, store)
    unloadable = _unloadable(table, options)
    revoked: dict[Variant, str] = {}
    kept: list[Proof] = []
    if not options.problem:
        kept = [p for p in proofs if p.variant in placed and p.status != Status.SOURCE_CHANGED]
        store.add_evidence(*(evidence_of(p, plan) for p in kept))
        revoked = _revoked(store, (p.variant for p in proofs if p.passed and p.variant in placed), plan)
    folders = Folders(plan.kernels_path)
    results = [_as_json(p, plan, revoked.get(p.variant, ""), stored=p in kept) for p in proofs]
    results += [_unloadable_as_json(f, folders) for f in unloadable]
    document: documents.Proofs = {"results": results, "folder": str(store.folder)}

    def show() -> None:
        _show(proofs, unloadable, console, single=problem is not None)
        if options.dtype and not options.problem and any(p.variant not in placed for p in proofs):
            console.print(
                f"no evidence was stored of variants with more dtypes than {options.dtype}: only {options.dtype} was checked"
            )
        for message in revoked.values():
            console.print(f"[red]revoked[/] {escape(message)}", highlight=False, soft_wrap=True)

    sound = all(p.status in {Status.PASSED, Status.REFUSED} for p in proofs)
    return Output(document, show, DONE if sound and not unloadable and not revoked else FAILED)


def _revoked(store: Store, passed: Iterable[Variant], plan: Plan) -> dict[Variant, str]:
    """Return, per variant whose proof a race has revoked, the reason: the race refuted the same source."""
    counting = {variant: store.proof(variant, kind_of(variant, gpu=plan.gpu)) for variant in passed}
    return {variant: revocation(variant, proof) for variant, proof in counting.items() if proof is not None and proof.revokes}


def main(argv: list[str] | None = None) -> int:
    """Prove the variants of the command line; return an exit code."""
    return execute(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
