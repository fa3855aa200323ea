"""What a run found wrong, told by the line of the source."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.checks.layout import Code

if TYPE_CHECKING:
    from simulator.ptx.model import Instruction, Kernel
    from simulator.runtime.memory import Arena

__all__ = ["KINDS", "Finding", "finding_at", "told"]

KINDS = (
    "race", "barrier_divergence", "uninitialised", "out_of_bounds", "misaligned", "deadlock", "missing_wait", "read_only",
    "trap", "unsupported", "same_value_race",
)  # fmt: skip
"""Every kind a finding can have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a kernel, at a line of its source.

    Parameters
    ----------
    kind
        One of `KINDS`.
    message
        What happened, with the values.
    path, line, code
        The place in the source; an empty path where only PTX is known, whose text is then the code.
    count
        How often it happened.
    block, thread
        Where it happened first: the block's number in the grid and the thread's in the block.
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


_TOLD = {
    Code.OUT_OF_BOUNDS: ("out_of_bounds", "{size} bytes at {place}"),
    Code.MISALIGNED: ("misaligned", "{size} bytes at {place}, an address that is no multiple of {size}"),
    Code.READ_ONLY: ("read_only", "a write of {size} bytes to memory that is only to be read: {place}"),
    Code.UNINITIALISED_SHARED: ("uninitialised", "a read of what the block has not written: {place}"),
    Code.UNWRITTEN: ("uninitialised", "a read of what nobody has written: {place}"),
    Code.MISSING_WAIT: ("missing_wait", "a cp.async to these bytes has not been waited for: {place}"),
    Code.RACE: ("race", "{place}: not ordered with the access by thread {other} at {there}"),
    Code.SAME_VALUE_RACE: (
        "same_value_race",
        "{place}: the value thread {other} wrote at {there} is written again, without order",
    ),
    Code.NOT_A_MEMBER: ("barrier_divergence", "a lane executes this whose own mask leaves it out"),
    Code.TOO_MANY_COPIES: ("unsupported", "more copies in flight than the checker follows"),
    Code.TOO_MANY_RELEASES: ("unsupported", "more releases than the checker follows: it may report races that are none"),
}


def told(kernel: Kernel, arena: Arena, row: tuple[int, ...]) -> Finding:
    """Return a report of the checker as a finding."""
    code, index, other_index, thread, other, offset, size, count = row
    kind, message = _TOLD[Code(code)]
    there = kernel.instructions[other_index].where if other_index >= 0 else ""
    who = f"{other & 1023} of block {other >> 10}"
    text = message.format(size=size, place=arena.describe(offset), other=who, there=there)
    return finding_at(kernel.instructions[index], kind, text, block=thread >> 10, thread=thread & 1023, count=count)
