"""Findings: the faults of a kernel, each with its line of the source."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.ptx.model import Instruction

__all__ = ["KINDS", "Finding", "finding_at"]

KINDS = (
    "race", "barrier_divergence", "uninitialised", "out_of_bounds", "misaligned", "deadlock", "missing_wait", "read_only",
    "trap", "unsupported", "same_value_race",
)  # fmt: skip
"""The kinds of findings."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a kernel, at a line of its source.

    Parameters
    ----------
    kind
        One of `KINDS`.
    message
        The fault, with the values.
    path, line, code
        The place in the source. If only the place in the PTX is known, the path is empty and the code is PTX.
    count
        The number of occurrences.
    block, thread
        The first occurrence: the number of the block in the grid, and of the thread in the block.
    """

    kind: str
    message: str
    path: str
    line: int
    code: str
    count: int
    block: int
    thread: int

    def __str__(self) -> str:
        times = f" ({self.count} times)" if self.count > 1 else ""
        where = f"{self.path}:{self.line}" if self.path else f"PTX line {self.line}"
        return f"{where}: {self.kind}{times}: {self.message}, block {self.block}, thread {self.thread}: {self.code}"


def finding_at(instruction: Instruction | None, kind: str, message: str, *, block: int, thread: int, count: int = 1) -> Finding:
    """Return a finding at an instruction's line of the source."""
    if instruction is None:
        return Finding(kind, message, "", 0, "", count, block, thread)
    location = instruction.location
    if location is None:
        return Finding(kind, message, "", instruction.ptx_line, instruction.text, count, block, thread)
    code = linecache.getline(location.path, location.line).strip() or instruction.text
    return Finding(kind, message, location.path, location.line, code, count, block, thread)
