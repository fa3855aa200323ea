"""Turns the checker's reports, rows of numbers, into findings with text and source line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.interface.checker import Code
from simulator.interface.findings import Finding, finding_at

if TYPE_CHECKING:
    from simulator.ptx.model import Kernel
    from simulator.runtime.memory import Arena

__all__ = ["finding_of_report"]

_MESSAGES = {
    Code.OUT_OF_BOUNDS: ("out_of_bounds", "{size} bytes at {place}"),
    Code.MISALIGNED: ("misaligned", "{size} bytes at {place}, an address that is not a multiple of {size}"),
    Code.READ_ONLY: ("read_only", "a write of {size} bytes to read-only memory: {place}"),
    Code.UNINITIALISED_SHARED: ("uninitialised", "an uninitialised read: the block has not written {place}"),
    Code.UNINITIALISED: ("uninitialised", "an uninitialised read: {place}"),
    Code.MISSING_WAIT: ("missing_wait", "no wait for the cp.async that writes these bytes: {place}"),
    Code.RACE: ("race", "{place}: not ordered with the access by thread {other} at {there}"),
    Code.SAME_VALUE_RACE: (
        "same_value_race",
        "{place}: thread {other} wrote the same value at {there}, without order",
    ),
    Code.NOT_A_MEMBER: ("barrier_divergence", "a lane executes this, but its own member mask excludes it"),
    Code.TOO_MANY_COPIES: ("unsupported", "more copies in flight than the checker follows"),
    Code.TOO_MANY_RELEASES: ("unsupported", "more releases than the checker follows: reported races may be false"),
}


def finding_of_report(kernel: Kernel, arena: Arena, row: tuple[int, ...]) -> Finding:
    """Return a report of the checker as a finding."""
    code, index, other_index, thread, other, offset, size, count = row
    kind, message = _MESSAGES[Code(code)]
    there = kernel.instructions[other_index].where if other_index >= 0 else ""
    who = f"{other & 1023} of block {other >> 10}"
    text = message.format(size=size, place=arena.describe(offset), other=who, there=there)
    return finding_at(kernel.instructions[index], kind, text, block=thread >> 10, thread=thread & 1023, count=count)
