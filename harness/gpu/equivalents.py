"""Planted bugs that change the code but not what it does: known, with the reason, and not counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.gpu.mutants import Mutant

__all__ = ["EQUIVALENT", "reason_of"]

EQUIVALENT: dict[str, tuple[tuple[str, str, str], ...]] = {}
"""For each reason the mutants it holds for: the end of the file's path, the rule, and the line with the bug in it."""


def reason_of(mutant: Mutant) -> str:
    """Return why a mutant is no bug; "" where none is known."""
    rule, line = mutant.mutation.rule.name, mutant.mutation.mutated
    for reason, known in EQUIVALENT.items():
        if any(mutant.file.endswith(file) and (rule, line) == (its_rule, its_line) for file, its_rule, its_line in known):
            return reason
    return ""
