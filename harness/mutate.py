"""``python -m harness.mutate``: plant bugs in the project's own CUDA variants, and see whether the battery finds them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.mutation.equivalents import reason_of
from harness.mutation.mutants import Candidate, candidates, chosen, plant
from harness.mutation.rules import RULES
from harness.proof.plan import Plan
from harness.proof.prove_all import prove_all
from registry.cli import guarded, wide_console
from registry.errors import DONE, FAILED, RequestError, UnknownNameError
from registry.listing import Column, Listing
from registry.machine import thread_count
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from harness.mutation.mutants import Mutant
    from harness.proof.result import Proof
    from registry.profiles import Profile
    from registry.variant import Variant

__all__ = ["NOT_COUNTED", "Outcome", "Quick", "main", "score_of"]

CONTROL_EXAMPLES = 4  # of the variants that bugs are planted in, on top of the basic problems
MOST_READERS = 8  # variants that a bug in a header is looked for in
SURVIVED = "survived"
NOT_COUNTED = ("not compiling", "equivalent", "known equivalent", "not simulated", "original fails")
REFUSED_BY_CUDA = "LaunchError"  # what the simulator refuses as CUDA would; any other exception is not the mutant's


class Quick(Plan):
    """A plan that makes no failure smaller: one is enough."""

    @property
    def profile_settings(self) -> Profile:
        """The profile's numbers, without time to shrink."""
        return dataclasses.replace(super().profile_settings, shrink_seconds=0.0)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes
    ----------
    status : str
        ``survived``, one of `NOT_COUNTED`, or what found it: the simulator's finding or the battery's gate.
    """

    mutant: Mutant
    status: str
    message: str = ""
    reproduce: str = ""
    seconds: float = 0.0

    @property
    def found(self) -> bool:
        """Whether the battery rejected it."""
        return self.status != SURVIVED and self.status not in NOT_COUNTED

    def as_json(self) -> dict[str, Any]:
        """Return what is written with ``--json``."""
        mutant, mutation = self.mutant, self.mutant.mutation
        return {
            "op": mutant.variant.op.name,
            "variant": mutant.variant.name,
            "rule": mutation.rule.name,
            "file": mutant.file,
            "line": mutation.line,
            "original": mutation.original,
            "mutated": mutation.mutated,
            "status": self.status,
            "message": self.message,
            "seconds": round(self.seconds, 3),
            "reproduce": self.reproduce,
        }


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m harness.mutate", description=__doc__)
    made.add_argument("--op", default="all", metavar="PATTERN", help="an op, a family, a glob, or all (default)")
    made.add_argument("--variant", metavar="A,B", help="names or globs of CUDA variants; without it, all of them")
    made.add_argument("--rule", metavar="WORDS", help="only rules whose name contains this")
    made.add_argument(
        "--most", type=int, default=200, metavar="N", help="bugs planted, spread over rules and files (%(default)s)"
    )
    made.add_argument("--seed", type=int, default=0, help="of the choice and of the drawn problems (default: %(default)s)")
    made.add_argument("--examples", type=int, default=24, metavar="N", help="problems drawn per mutant (default: %(default)s)")
    made.add_argument("--least", type=float, default=0.95, metavar="SHARE", help="found, or exit 1 (default: %(default)s)")
    made.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return made


def score_of(outcomes: Iterable[Outcome]) -> float:
    """Return the share found of the mutants that count."""
    counted = [o.found for o in outcomes if o.status not in NOT_COUNTED]
    return sum(counted) / len(counted) if counted else 1.0


def _planted(options: argparse.Namespace, progress: Progress) -> list[Mutant]:
    table = discover()
    variants = [v for v in table.select(table.select_ops(options.op), options.variant) if v.path.with_suffix(".cu").exists()]
    if options.rule and not any(options.rule in rule.name for rule in RULES):
        raise UnknownNameError("rule", options.rule, [rule.name for rule in RULES])
    every = [c for c in candidates(variants) if (options.rule or "") in c.mutation.rule.name]
    if not every:
        raise RequestError(f"--op {options.op}: no CUDA source in which a bug could be planted")
    some = chosen(every, options.most, options.seed)
    task = progress.add_task("planting and compiling", total=len(some))
    mutants = []
    with ThreadPoolExecutor(thread_count()) as pool:
        for mutant in pool.map(plant, some):
            mutants.append(mutant)
            progress.update(task, advance=1, description=f"planting in {mutant.variant}")
    return sorted(mutants, key=lambda m: m.variant.op.name)  # ops share answer keys


def _prove(mutants: list[Mutant], options: argparse.Namespace, progress: Progress) -> list[Outcome]:
    """Prove mutants; a bug in a header that a variant does not show is planted in the next that reads it."""
    outcomes: list[Outcome] = []
    for _ in range(MOST_READERS):
        done = _prove_once(mutants, options, progress)
        again = [o for o in done if o.status == SURVIVED and o.mutant.others]
        with ThreadPoolExecutor(thread_count()) as pool:
            planted = list(pool.map(plant, (Candidate(o.mutant.mutation, o.mutant.others) for o in again)))
        moved = {id(o): m for o, m in zip(again, planted, strict=True) if not m.status}
        outcomes += [o for o in done if id(o) not in moved]
        mutants = list(moved.values())
        if not mutants:
            break
    else:
        outcomes += [o for o in done if id(o) in moved]
    return outcomes


def _prove_once(mutants: list[Mutant], options: argparse.Namespace, progress: Progress) -> list[Outcome]:
    """Prove mutants, and first the variants they are made of."""
    folders = tuple(dict.fromkeys(m.folder for m in mutants))
    plan = Quick(examples=options.examples, seed=options.seed, kernels_path=folders)
    brief = dataclasses.replace(plan, examples=min(CONTROL_EXAMPLES, options.examples))
    table = discover(*folders)
    if table.unloadable:
        raise RequestError(str(table.unloadable[0]))
    originals = {m.variant: table.variant(m.variant.op.name, m.variant.name) for m in mutants}

    def proofs_of(variants: list[Variant], plan: Plan, what: str) -> list[Proof]:
        task = progress.add_task(what, total=len(variants))
        return prove_all(variants, plan, lambda p: progress.update(task, advance=1, description=f"{what}: {p.variant.op.name}"))

    failing = {p.variant: p for p in proofs_of(list(originals.values()), brief, "originals") if not p.unharmed}
    sound = [m for m in mutants if originals[m.variant] not in failing]
    proofs = proofs_of([table.variant(m.variant.op.name, m.name) for m in sound], plan, "mutants")
    bad = [m for m in mutants if originals[m.variant] in failing]
    return [
        *(Outcome(m, "original fails", str(failing[originals[m.variant]])) for m in bad),
        *(_outcome(m, p, plan) for m, p in zip(sound, proofs, strict=True)),
    ]


def _outcome(mutant: Mutant, proof: Proof, plan: Plan) -> Outcome:
    status, message = proof.status if proof.gate == "simulation" else proof.gate, proof.message
    if proof.gate == "isolation":
        status = proof.status
    if proof.gate == "contract" and not message.startswith(REFUSED_BY_CUDA):
        status = "not simulated"
    if proof.unharmed or proof.status == "refused":
        reason = reason_of(mutant)
        status, message = ("known equivalent", reason) if reason else (SURVIVED, "")
    own = dataclasses.replace(plan, kernels_path=(mutant.folder,))
    return Outcome(mutant, status, message, own.reproduce(proof.variant, proof.problem), proof.seconds)


def _counted(outcomes: Iterable[Outcome]) -> str:
    """Return statuses with their numbers, the most frequent first."""
    return ", ".join(f"{status} {number}" for status, number in Counter(o.status for o in outcomes).most_common())


def _row(outcomes: list[Outcome]) -> tuple[str | Text, ...]:
    found, survived = [o for o in outcomes if o.found], sum(o.status == SURVIVED for o in outcomes)
    aside = _counted(o for o in outcomes if o.status in NOT_COUNTED)
    return str(len(found) or ""), _counted(found), Text(str(survived or ""), style="red"), aside


def _show(outcomes: list[Outcome], console: Console) -> None:
    prose = {"imitates", "by", "not counted"}
    headings = ("imitates", "found", "by", "survived", "not counted")
    columns = (Column(name, wrap=name in prose, justify="left" if name in prose else "right") for name in headings)
    shown = Listing(Column("rule", key=True), *columns, title="Planted bugs, and what found them")
    for rule in RULES:
        if of_rule := [o for o in outcomes if o.mutant.mutation.rule.name == rule.name]:
            shown.add(rule.name, rule.imitates, *_row(of_rule))
    shown.add("all", "", *_row(outcomes), style="bold")
    console.print(shown)
    for outcome in outcomes:
        if outcome.status in {SURVIVED, "not simulated", "original fails"}:
            mutant, mutation = outcome.mutant, outcome.mutant.mutation
            where = f"{mutant.file}:{mutation.line}: {mutation.rule.name}, in {mutant.variant}"
            told = f"[red]{outcome.status}[/] {where}\n  was {escape(mutation.original)}\n  now {escape(mutation.mutated)}"
            console.print(told, f"  {escape(outcome.message or outcome.reproduce)}", sep="\n", highlight=False, soft_wrap=True)
    found, survived = sum(o.found for o in outcomes), sum(o.status == SURVIVED for o in outcomes)
    console.print(f"{found} found, {survived} survived: score {score_of(outcomes):.1%}")


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for."""
    console = wide_console(stderr=options.json)
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        mutants = _planted(options, progress)
        outcomes = [Outcome(m, m.status, m.message) for m in mutants if m.status]
        outcomes += _prove([m for m in mutants if not m.status], options, progress)
    score = score_of(outcomes)
    if options.json:
        counts = Counter("found" if o.found else o.status for o in outcomes)
        print(json.dumps({"score": score, "counts": counts, "mutants": [o.as_json() for o in outcomes]}))  # noqa: T201 (a command line answers)
    _show(outcomes, console)
    return DONE if score >= options.least else FAILED


def main(argv: list[str] | None = None) -> int:
    """Plant and prove what is asked for; return an exit code."""
    options = parser().parse_args(argv)
    return guarded(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
