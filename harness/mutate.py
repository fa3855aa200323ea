"""``python -m harness.mutate``: plant bugs in the project's own CUDA variants, and count how many the battery finds."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.mutation.equivalents import reason_of
from harness.mutation.mutants import Candidate, candidates, chosen, plant
from harness.mutation.rules import RULES
from harness.proof.plan import Plan
from harness.proof.prove_all import prove_all
from registry.cli import wide_console
from registry.command_parser import CommandParser
from registry.enums import Status
from registry.errors import DONE, FAILED, RequestError, UnknownNameError
from registry.listing import Column, Listing
from registry.machine import thread_count
from registry.output import Output, execute
from registry.table import discover

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from rich.console import Console

    from harness.mutation.mutants import Mutant
    from harness.proof.result import Proof
    from registry.documents import proofs as documents
    from registry.profiles import Profile
    from registry.variant import Variant

__all__ = ["NOT_COUNTED", "Outcome", "Quick", "main", "score_of"]

CONTROL_EXAMPLES = 4  # random problems for the original variants, in addition to the fixed problems
MOST_READERS = 8  # variants on which a bug in a header is proven, one after the other
SURVIVED = "survived"
NOT_COUNTED = ("not compiling", "equivalent", "known equivalent", "not simulated", "original fails")
REFUSED_BY_CUDA = "LaunchError"  # a launch that CUDA would refuse too; any other exception is a limit of the simulator


class Quick(Plan):
    """A plan without shrinking: any failure rejects a mutant."""

    @property
    def profile_settings(self) -> Profile:
        """The settings of the profile, with no time for shrinking."""
        return dataclasses.replace(super().profile_settings, shrink_seconds=0.0)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of proving a mutant.

    Attributes
    ----------
    status : str
        ``survived``, one of `NOT_COUNTED`, or the finding that rejected it: of the simulator, or the battery's gate.
    """

    mutant: Mutant
    status: str
    message: str = ""
    reproduce: str = ""
    seconds: float = 0.0

    @property
    def found(self) -> bool:
        """Whether the battery rejected the mutant."""
        return self.status != SURVIVED and self.status not in NOT_COUNTED

    def as_json(self) -> documents.MutantFields:
        """Return the mutant's part of the ``--json`` document."""
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


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m harness.mutate", description=__doc__)
    parser.add_argument("--op", default="all", metavar="PATTERN", help="an op, a family, a glob, or all (default)")
    parser.add_argument("--variant", metavar="A,B", help="names or globs of CUDA variants (default: all of them)")
    parser.add_argument("--rule", metavar="WORDS", help="only rules whose name contains these words")
    parser.add_argument(
        "--most", type=int, default=200, metavar="N", help="bugs to plant, spread over rules and files (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the selection and of the random problems (default: %(default)s)"
    )
    parser.add_argument(
        "--examples", type=int, default=24, metavar="N", help="random problems per mutant (default: %(default)s)"
    )
    parser.add_argument(
        "--least", type=float, default=0.95, metavar="SHARE", help="exit 1 below this mutation score (default: %(default)s)"
    )
    return parser


def score_of(outcomes: Iterable[Outcome]) -> float:
    """Return the mutation score: the share of the counted mutants that the battery rejected."""
    counted = [o.found for o in outcomes if o.status not in NOT_COUNTED]
    return sum(counted) / len(counted) if counted else 1.0


def _planted(options: argparse.Namespace, progress: Progress) -> list[Mutant]:
    table = discover()
    variants = [v for v in table.select(table.select_ops(options.op), options.variant) if v.path.with_suffix(".cu").exists()]
    if options.rule and not any(options.rule in rule.name for rule in RULES):
        raise UnknownNameError("rule", options.rule, [rule.name for rule in RULES])
    possible = [c for c in candidates(variants) if (options.rule or "") in c.mutation.rule.name]
    if not possible:
        raise RequestError(f"--op {options.op}: no CUDA source in which a bug could be planted")
    selected = chosen(possible, options.most, options.seed)
    task = progress.add_task("planting and compiling", total=len(selected))
    mutants = []
    with ThreadPoolExecutor(thread_count()) as pool:
        for mutant in pool.map(plant, selected):
            mutants.append(mutant)
            progress.update(task, advance=1, description=f"planting in {mutant.variant}")
    return sorted(mutants, key=lambda m: m.variant.op.name)  # mutants of one op use the same reference outputs


def _prove(mutants: list[Mutant], options: argparse.Namespace, progress: Progress) -> list[Outcome]:
    """Prove mutants; if a bug in a header survives, prove it again in the next variant that includes the header."""
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
    """Prove the original variants, and then the mutants of the originals that pass."""
    folders = tuple(dict.fromkeys(m.folder for m in mutants))
    plan = Quick(examples=options.examples, seed=options.seed, kernels_path=folders)
    brief = dataclasses.replace(plan, examples=min(CONTROL_EXAMPLES, options.examples))
    table = discover(*folders)
    if table.unloadable:
        raise RequestError(str(table.unloadable[0]))
    originals = {m.variant: table.variant(m.variant.op.name, m.variant.name) for m in mutants}

    def proofs_of(variants: list[Variant], plan: Plan, kind: str) -> list[Proof]:
        task = progress.add_task(kind, total=len(variants))
        return prove_all(variants, plan, lambda p: progress.update(task, advance=1, description=f"{kind}: {p.variant.op.name}"))

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
    if proof.unharmed or proof.status == Status.REFUSED:
        reason = reason_of(mutant)
        status, message = ("known equivalent", reason) if reason else (SURVIVED, "")
    own = dataclasses.replace(plan, kernels_path=(mutant.folder,))
    return Outcome(mutant, status, message, own.reproduce(proof.variant, proof.problem), proof.seconds)


def _counted(outcomes: Iterable[Outcome]) -> str:
    """Return each status with its count, the most frequent first."""
    return ", ".join(f"{status} {number}" for status, number in Counter(o.status for o in outcomes).most_common())


def _row(outcomes: list[Outcome]) -> tuple[str | Text, ...]:
    found, survived = [o for o in outcomes if o.found], sum(o.status == SURVIVED for o in outcomes)
    aside = _counted(o for o in outcomes if o.status in NOT_COUNTED)
    return str(len(found) or ""), _counted(found), Text(str(survived or ""), style="red"), aside


def _show(outcomes: list[Outcome], console: Console) -> None:
    prose = {"imitates", "by", "not counted"}
    headings = ("imitates", "found", "by", "survived", "not counted")
    columns = (Column(name, wrap=name in prose, justify="left" if name in prose else "right") for name in headings)
    shown = Listing(Column("rule", key=True), *columns, title="Planted bugs and the checks that found them")
    for rule in RULES:
        if of_rule := [o for o in outcomes if o.mutant.mutation.rule.name == rule.name]:
            shown.add(rule.name, rule.imitates, *_row(of_rule))
    shown.add("all", "", *_row(outcomes), style="bold")
    console.print(shown)
    for outcome in outcomes:
        if outcome.status in {SURVIVED, "not simulated", "original fails"}:
            mutant, mutation = outcome.mutant, outcome.mutant.mutation
            where = f"{mutant.file}:{mutation.line}: {mutation.rule.name}, in {mutant.variant}"
            change = f"[red]{outcome.status}[/] {where}\n  was {escape(mutation.original)}\n  now {escape(mutation.mutated)}"
            console.print(
                change, f"  {escape(outcome.message or outcome.reproduce)}", sep="\n", highlight=False, soft_wrap=True
            )
    found, survived = sum(o.found for o in outcomes), sum(o.status == SURVIVED for o in outcomes)
    console.print(f"{found} found, {survived} survived: score {score_of(outcomes):.1%}")


def run(options: argparse.Namespace) -> Output:
    """Plant and prove the requested mutants; return the output."""
    console = wide_console()
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        mutants = _planted(options, progress)
        outcomes = [Outcome(m, m.status, m.message) for m in mutants if m.status]
        outcomes += _prove([m for m in mutants if not m.status], options, progress)
    score = score_of(outcomes)
    document: documents.Mutated = {
        "score": score,
        "counts": dict(Counter("found" if o.found else o.status for o in outcomes)),
        "mutants": [o.as_json() for o in outcomes],
    }
    return Output(document, lambda: _show(outcomes, console), DONE if score >= options.least else FAILED)


def main(argv: list[str] | None = None) -> int:
    """Plant bugs and prove the mutants; return an exit code."""
    return execute(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
