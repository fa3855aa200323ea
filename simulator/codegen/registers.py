"""Offsets in the warp's state for the registers that are live across blocks.

A register that is born and dies within one basic block stays an LLVM value and has no place. The others share slots where their
live ranges, counted in whole blocks, do not meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.interface.warp_state import LANES, aligned

if TYPE_CHECKING:
    from simulator.ptx.model import Kernel

__all__ = ["RegisterFile", "allocate"]


class RegisterFile:
    """The offset of each register that is live across blocks, and the size of the whole state."""

    def __init__(self, slots: dict[str, int], end: int) -> None:
        self.slots = slots
        self.end = aligned(end)


def _slot_bytes(bits: int) -> int:
    return 64 if bits == 1 else max(64, LANES * bits // 8)


def allocate(kernel: Kernel, start: int) -> RegisterFile:
    """Give every register that is live across blocks an offset in the warp's state, from `start` on."""
    live: dict[str, set[int]] = {}
    for block in kernel.blocks:
        for name in block.live_in | block.live_out:
            live.setdefault(name, set()).add(block.index)
    slots: dict[str, int] = {}
    by_size: dict[int, list[tuple[int, set[int]]]] = {}
    end = start
    for name in sorted(live, key=lambda name: (min(live[name]), name)):
        size = _slot_bytes(kernel.registers[name].bits)
        free = next((slot for slot in by_size.setdefault(size, []) if not slot[1] & live[name]), None)
        if free is None:
            free = (end, set())
            by_size[size].append(free)
            end += size
        free[1].update(live[name])
        slots[name] = free[0]
    return RegisterFile(slots, end)
