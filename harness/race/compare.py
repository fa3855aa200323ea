"""Race the working tree against another revision, variant by variant: SAME, FASTER, SLOWER or UNDECIDED.

A changed or new variant without fresh evidence is not raced: its verdict is UNPROVEN. A variant that the other revision has
and that cannot be loaded now is ``unloadable``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.race.contestant_process import ContestantProcess
from harness.race.rounds import Entry
from harness.race.statistics import CLOSE, Interval, paired_ratio
from registry.enums import Status
from registry.errors import EvidenceError, UnknownNameError
from registry.fingerprint import source_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.race.entries import Field
    from harness.race.old_tree import OldTree
    from harness.race.session import Session
    from registry.documents import races as documents
    from registry.variant import Variant

    Progress = Callable[[str, float], None]

__all__ = ["FAIL_ON", "NOW", "Comparison", "compare", "comparison_json", "fail_on", "markdown", "verdict"]

LEAST_RACE_S = 1.0
FAIL_ON = ("slower", "unproven")
NOW = "now: "  # first word of a note about the contestant of the working tree


@dataclass(frozen=True)
class Comparison:
    """One variant at one workload, in the working tree (now) and in the other revision (then).

    Attributes
    ----------
    verdict : str
        SAME, FASTER, SLOWER or UNDECIDED; NEW if the other revision has no variant of this name; UNPROVEN if the variant has
        changed, or is new, and has no fresh evidence; else the status of the contestant that failed.
    interval : Interval or None
        Time now over time then; None without a race.
    """

    op: str
    workload: str
    variant: str
    verdict: str
    interval: Interval | None = None
    rounds: int = 0
    note: str = ""


def verdict(interval: Interval) -> str:
    """Return the verdict for an interval of the ratio now / then.

    Two processes of one kernel may differ by less than a per cent, depending on the addresses of their pages. Such a ratio
    counts as SAME.
    """
    if abs(interval.ratio - 1) < CLOSE:
        return "SAME" if 1 - 2 * CLOSE < interval.low <= interval.high < 1 + 2 * CLOSE else "UNDECIDED"
    if interval.tie:
        return "UNDECIDED"
    return "FASTER" if interval.ratio < 1 else "SLOWER"


def _known(old: OldTree, field: Field, variant: Variant) -> Comparison | None:
    """Return the comparison of a new or unchanged variant, which needs no race; None if a race is needed."""
    op, workload = field.board.op.name, field.board.workload
    then = old.hashes.get((op, variant.name))
    if then is None:
        return Comparison(op, workload, variant.name, "NEW", note=f"not in {old.commit}")
    if then == source_hash(variant):
        return Comparison(op, workload, variant.name, "SAME", note="the sources are identical")
    return None


def fail_on(text: str | None) -> set[str]:
    """Return the verdicts that ``--fail-on`` names.

    Raises
    ------
    UnknownNameError
        A word is not one of `FAIL_ON`.
    """
    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if word.lower() not in FAIL_ON:
            raise UnknownNameError("verdict of --fail-on", word, FAIL_ON)
    return {word.upper() for word in words}


def _not_raced(old: OldTree, field: Field) -> Iterator[Comparison]:
    """Yield the comparisons of variants that are not raced: changed ones without evidence, and unloadable ones."""
    op, workload = field.board.op.name, field.board.workload
    for row in (row for row in field.refused if not row.baseline):
        if row.status == Status.UNPROVEN:
            same = old.hashes.get((op, row.variant)) == row.source
            verdict, note = ("SAME", "the sources are identical") if same else ("UNPROVEN", row.note)
            yield Comparison(op, workload, row.variant, verdict, note=note)
        elif row.status == Status.UNLOADABLE and (op, row.variant) in old.hashes:
            yield Comparison(op, workload, row.variant, row.status, note=row.note)


def compare(
    session: Session,
    fields: Sequence[Field],
    old: OldTree,
    budget_s: float,
    begin: Callable[[Variant], None],
    progress: Progress,
) -> Iterator[Comparison]:
    """Yield one comparison per field and variant; race the proven variants whose sources have changed.

    Parameters
    ----------
    budget_s : float
        Time budget in seconds of the controls and all races together.
    begin : callable
        Called with the first variant before its race; checks the controls.

    Raises
    ------
    EvidenceError
        No variant takes this problem, so there is nothing to compare.
    """
    pairs = [(field, variant) for field in fields for variant in field.candidates]
    others = [comparison for field in fields for comparison in _not_raced(old, field)]
    if not pairs and not others:
        raise EvidenceError("nothing to compare: none of these variants takes this problem")
    changed = [pair for pair in pairs if _known(old, *pair) is None]
    start, number = time.monotonic(), 0
    if changed:
        begin(changed[0][1])
    yield from others
    then = ContestantProcess(session.kernels_path, root=old.root)
    try:
        for field, variant in pairs:
            known = _known(old, field, variant)
            if known is not None:
                yield known
                continue
            left = (budget_s - (time.monotonic() - start)) / (len(changed) - number)
            part = _part(progress, f"{variant} at {field.board.workload}", number, len(changed))
            yield _raced(session, field, variant, then, max(left, LEAST_RACE_S), part)
            number += 1
    finally:
        then.close()


def _part(progress: Progress, race: str, number: int, races: int) -> Progress:
    return lambda activity, done: progress(f"{race}: {activity}", (number + done) / races)


def _raced(
    session: Session,
    field: Field,
    variant: Variant,
    then: ContestantProcess,
    budget_s: float,
    progress: Progress,
) -> Comparison:
    entries = [
        Entry("now", session.process(0), variant=variant.name),
        Entry("then", then, variant=variant.name),
    ]
    board = field.board
    torch = Entry("torch", session.torch, kind="torch")
    session.load(torch, board.op, board.dims, dtype=board.dtype)  # torch computes the reference outputs
    session.race(field.board, entries, budget_s, progress)
    op, workload = field.board.op.name, field.board.workload
    for entry in entries:
        if not entry.racing:
            return Comparison(op, workload, variant.name, entry.status, note=f"{entry.name}: {entry.note}")
    interval = paired_ratio(entries[0].samples_ms, entries[1].samples_ms)
    rounds = min(len(e.samples_ms) for e in entries)
    return Comparison(op, workload, variant.name, verdict(interval), interval, rounds)


def comparison_json(comparisons: Sequence[Comparison], revision: str, commit: str) -> documents.Compared:
    """Return the document that ``--compare REV --json`` prints."""
    return {
        "revision": revision,
        "commit": commit,
        "comparisons": [
            {
                "op": c.op, "workload": c.workload, "variant": c.variant, "verdict": c.verdict,
                "ratio": c.interval.ratio if c.interval else None,
                "interval": [c.interval.low, c.interval.high] if c.interval else None,
                "rounds": c.rounds, "note": c.note,
            }
            for c in comparisons
        ],
    }  # fmt: skip


def markdown(comparisons: Sequence[Comparison], revision: str, commit: str, machine: str) -> str:
    """Return the comparisons as a comment for a pull request: a table, and the number of variants with identical sources."""
    named = f"`{commit}`" if revision == commit else f"`{revision}` (`{commit}`)"
    shown = [c for c in comparisons if not (c.verdict == "SAME" and c.interval is None)]
    lines = [f"Race of the working tree against {named} on `{machine}`", ""]
    if shown:
        lines += ["| op | workload | variant | verdict | time now / then | 95 % | rounds | remark |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for c in shown:
        ratio, spread = (f"{c.interval.ratio:.3f}", f"{c.interval.low:.3f}-{c.interval.high:.3f}") if c.interval else ("", "")
        rounds = str(c.rounds or "")
        lines.append(f"| {c.op} | {c.workload} | `{c.variant}` | {c.verdict} | {ratio} | {spread} | {rounds} | {c.note} |")
    if same := len(comparisons) - len(shown):
        lines += ["", f"SAME without a race, since the sources are identical: {same} of {len(comparisons)}."]
    return "\n".join(lines)
