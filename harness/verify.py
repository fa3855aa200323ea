"""``python -m harness.verify``: prove variants, and keep the evidence that the race and the trainer ask for.

Evidence goes to ``results/local/<machine>/``, which git ignores; ``--keep`` writes to the tracked ``results/<machine>/``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.proof.plan import Plan
from harness.proof.prove_all import prove_all
from harness.proof.result import SOURCE_CHANGED, Proof
from harness.proof.sandbox.client import Worker
from registry.cli import add_keep, add_kernels_path, guarded, wide_console
from registry.commands import Folders, pasted
from registry.devices import DEVICES, device, kind_of
from registry.dtypes import DTYPES
from registry.errors import DONE, FAILED, RequestError, UnknownNameError
from registry.fingerprint import Snapshot
from registry.listing import Column, Listing
from registry.machine import machine_key, thread_count, versions
from registry.problem import parse_problem
from registry.profiles import PROFILES
from registry.records import RESULTS, Evidence, Store, revocation
from registry.table import Unloadable, discover

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from registry.table import Table
    from registry.variant import Variant

__all__ = ["evidence_of", "main"]

AT_ONCE = 2  # workers for a single variant
MOST_NAMES = 8  # of variants, in a message
COLOURS = {"passed": "green", "refused": "yellow", "partial": "yellow"}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m harness.verify", description=__doc__)
    made.add_argument("--op", required=True, metavar="PATTERN", help="an op, a family, a glob, or all")
    made.add_argument("--variant", metavar="A,B", help="names or globs of variants; without it, all of them")
    made.add_argument("--profile", default="dev", choices=PROFILES, help="how much is drawn (default: %(default)s)")
    made.add_argument("--examples", type=int, metavar="N", help="problems drawn per variant, instead of the profile's number")
    made.add_argument("--seed", type=int, default=0, help="of the drawn problems (default: %(default)s)")
    made.add_argument(
        "--dtype", metavar="NAME", help=f"draw problems of this dtype alone: {' or '.join(DTYPES)}; keeps no evidence"
    )
    made.add_argument("--problem", metavar="LINE", help="check this one problem, as a failure printed it; stores nothing")
    made.add_argument(
        "--device",
        metavar="|".join(DEVICES),
        help="where to run (default: cpu; sim for CUDA variants that --variant names)",
    )
    made.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="the folder of records")
    made.add_argument("--json", action="store_true", help="one JSON document on standard output")
    add_keep(made)
    add_kernels_path(made)
    return made


def _device_of(variant: Variant, plan: Plan) -> str:
    kind = kind_of(variant, gpu=plan.gpu)
    return "cpu" if kind == "host" else kind


def _placed(variants: list[Variant], options: argparse.Namespace) -> list[Variant]:
    """Return those of `variants` that run on the wanted device."""
    if options.device is None and options.variant:
        return variants
    on_host = options.device in (None, "cpu")
    placed = [v for v in variants if (v.device == "host") == on_host]
    if not placed:
        where, other = ("a GPU", "sim") if on_host else ("the CPU", "cpu")
        names = ", ".join(sorted({v.name for v in variants}))
        raise RequestError(f"--device {options.device}: {names} of {options.op} run on {where}; use --device {other}")
    return placed


def _narrowed(variants: list[Variant], dtype: str | None) -> list[Variant]:
    """Return those of `variants` that take `dtype`, as if they took no other."""
    if dtype is None:
        return variants
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES)
    able = [v for v in variants if dtype in v.dtypes]
    if not able:
        taken = ", ".join(sorted({d for v in variants for d in v.dtypes}))
        names = sorted({str(v) for v in variants})
        names = [*names[:MOST_NAMES], "..."] if len(names) > MOST_NAMES else names
        raise RequestError(f"--dtype {dtype}: nothing that was asked for takes it ({', '.join(names)}); they take {taken}")
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
        worst_over_budget=_finite(proof.worst_over_budget),
        mutation_score=proof.tally.score,
        seconds=round(proof.seconds, 3),
        reproduce=proof.reproduce,
        rechecked=[str(problem) for problem in proof.recheck],
    )


def _finite(ratio: float) -> float:
    """JSON knows no infinity."""
    return min(ratio, sys.float_info.max)


def _as_json(proof: Proof, plan: Plan) -> dict[str, Any]:
    return {
        "op": proof.variant.op.name,
        "variant": proof.variant.name,
        "device": _device_of(proof.variant, plan),
        "status": proof.status,
        "gate": proof.gate,
        "problems": proof.problems,
        "worst_over_budget": _finite(proof.worst_over_budget),
        "mutation_score": proof.tally.score,
        "seconds": round(proof.seconds, 3),
        "reproduce": proof.reproduce,
        "message": proof.message,
    }


def _unloadable_as_json(failed: Unloadable, folders: Folders) -> dict[str, Any]:
    return {
        "op": failed.op,
        "variant": failed.name,
        "device": "cpu",
        "status": "unloadable",
        "gate": "contract",
        "problems": 0,
        "worst_over_budget": 0.0,
        "mutation_score": 0.0,
        "seconds": 0.0,
        "reproduce": pasted("registry", "--op", failed.op or "all", folders=folders),
        "message": failed.reason,
        "revoked": "",
    }


def _show(proofs: Iterable[Proof], unloadable: Iterable[Unloadable], console: Console, *, single: bool) -> None:
    numbers_of = (Column(name, justify="right") for name in ("problems", "worst / budget", "nulls caught", "seconds"))
    keys = Column("op", key=True), Column("variant", key=True)
    shown = Listing(*keys, "status", "gate", *numbers_of, title="The battery")
    proofs = list(proofs)
    for proof in proofs:
        status = Text(proof.status, style=COLOURS.get(proof.status, "red"))
        numbers = str(proof.problems), f"{proof.worst_over_budget:.3g}", f"{proof.tally.score:.0%}", f"{proof.seconds:.1f}"
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
                f"{proof.variant}: null kernels not caught: {', '.join(proof.tally.survivors)}", highlight=False, soft_wrap=True
            )


def _unloadable(table: Table, options: argparse.Namespace) -> list[Unloadable]:
    """Return what could not be loaded and would have been asked for."""
    return [] if options.problem else table.unloadable_of(table.select_ops(options.op), options.variant)


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for."""
    gpu = device(options.device or "cpu").name == "cuda"
    if options.examples is not None and options.examples < 1:
        raise RequestError(f"--examples {options.examples}: draw at least one problem")
    sources = Snapshot(tuple(options.kernels_path))  # before this process or another one imports any of them
    with ExitStack() as stack:
        count = 1 if options.problem else min(thread_count(), AT_ONCE)
        workers = [stack.enter_context(Worker(options.kernels_path, sources=sources)) for _ in range(count)]
        for worker in workers:
            worker.start()  # it imports what it needs while this process does
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


def _prove(options: argparse.Namespace, table: Table, workers: list[Worker], plan: Plan) -> int:
    ops = table.select_ops(options.op)
    if options.problem and options.op in table.ops:
        ops = [table.op(options.op)]
    placed = _placed(table.select(ops, options.variant), options)
    variants = _narrowed(placed, options.dtype)
    problem = None
    store = Store(options.results, machine_key("cuda" if plan.gpu else "host"), keep=options.keep)
    if options.problem:
        if len(ops) > 1:
            raise RequestError(f"--problem speaks of one op, --op {options.op!r} stands for {len(ops)}")
        problem = parse_problem(ops[0], options.problem)
        if options.dtype not in {None, problem.dtype}:
            raise RequestError(f"--dtype {options.dtype}, but the problem says dtype={problem.dtype}")
    console = wide_console(stderr=options.json)
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting workers", total=len(variants))

        def told(proof: Proof) -> None:
            progress.update(task, advance=1, description=str(proof.variant))

        proofs = prove_all(variants, plan, told, problem, workers, store)
    unloadable = _unloadable(table, options)
    revoked: dict[Variant, str] = {}
    if not options.problem:
        kept = [p for p in proofs if p.variant in placed and p.status != SOURCE_CHANGED]
        store.add_evidence(*(evidence_of(p, plan) for p in kept))
        revoked = _revoked(store, (p.variant for p in proofs if p.passed and p.variant in placed), plan)
    if options.json:
        folders = Folders(plan.kernels_path)
        results = [_as_json(p, plan) | {"revoked": revoked.get(p.variant, "")} for p in proofs]
        results += [_unloadable_as_json(f, folders) for f in unloadable]
        print(json.dumps({"results": results}))  # noqa: T201 (a command line answers)
    _show(proofs, unloadable, console, single=problem is not None)
    if options.dtype and not options.problem and any(p.variant not in placed for p in proofs):
        console.print(f"no evidence was kept of variants that take more than {options.dtype}: nothing else was drawn")
    for message in revoked.values():
        console.print(f"[red]revoked[/] {escape(message)}", highlight=False, soft_wrap=True)
    sound = all(p.status in {"passed", "refused"} for p in proofs)
    return DONE if sound and not unloadable and not revoked else FAILED


def _revoked(store: Store, passed: Iterable[Variant], plan: Plan) -> dict[Variant, str]:
    """Return why the proofs of some variants that have just passed do not count: a race has refuted the same source."""
    counting = {variant: store.proof(variant, kind_of(variant, gpu=plan.gpu)) for variant in passed}
    return {variant: revocation(variant, proof) for variant, proof in counting.items() if proof is not None and proof.revokes}


def main(argv: list[str] | None = None) -> int:
    """Prove what is asked for; return an exit code."""
    options = parser().parse_args(argv)

    return guarded(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
