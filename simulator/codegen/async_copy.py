"""cp.async: copies from global to shared memory that a thread waits for in groups (PTX ISA section 9.7.9.25).

The data are copied when the instruction runs; to the checker they are in flight until the issuing thread has waited for
their group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import ZERO, ints
from simulator.codegen.memory import guard, locate, near
from simulator.codegen.moves import copy_bytes
from simulator.codegen.warp_emitter import refuse
from simulator.interface.warp_state import COMMIT, Access
from simulator.ptx.model import Address, Immediate, Register

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction

__all__ = ["TRANSLATORS"]

_SIZES = {4, 8, 16}


def _copy(emitter: WarpEmitter, instruction: Instruction) -> None:
    if not instruction.has("async") or instruction.has("bulk") or instruction.has("mbarrier"):
        raise refuse(instruction)
    if instruction.has("commit_group"):
        _groups(emitter, instruction, COMMIT)
    elif instruction.has("wait_all"):
        _groups(emitter, instruction, 0)
    elif instruction.has("wait_group"):
        allowed = instruction.operands[0]
        if not isinstance(allowed, Immediate):
            raise refuse(instruction)
        _groups(emitter, instruction, allowed.value)
    else:
        _start(emitter, instruction)


def _groups(emitter: WarpEmitter, instruction: Instruction, number: int) -> None:
    """Close a group, or wait until at most `number` groups are in flight; `wait_all` needs no group to be closed."""
    if not emitter.checked:
        return
    lanes = emitter.to_bits(emitter.lanes(instruction))
    emitter.call(
        "check_copy_groups",
        "void",
        ("i64", emitter.state_number()),
        ("i64", emitter.launch_constant("checker")),
        ("i32", number),
        ("i32", int(instruction.has("wait_all"))),
        ("i32", lanes),
    )


def _start(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Copy 4, 8 or 16 bytes per lane; bytes beyond the source size are zeros."""
    target, source, size, *rest = instruction.operands
    if any(isinstance(operand, Address) for operand in rest) or not isinstance(size, Immediate) or len(rest) > 1:
        raise refuse(instruction)
    if rest and isinstance(rest[0], Register) and rest[0].bits == 1:
        raise refuse(instruction, "the ignore-src predicate")
    count, lanes = size.value, emitter.lanes(instruction)
    if count not in _SIZES:
        raise refuse(instruction, "a copy of neither 4, 8 nor 16 bytes")
    into = locate(emitter, target, "shared")
    written = guard(emitter, instruction, into, count, lanes, Access.WRITE)
    source_size = emitter.read(rest[0], 32) if rest else ""
    reading = written
    if source_size:
        reading = emitter.both(written, emitter.op("icmp ne", ints(32), source_size, emitter.constant(0)))
    origin = locate(emitter, source, "global")
    reading = guard(emitter, instruction, origin, count, reading, Access.READ)
    if emitter.checked:
        _tell_checker(emitter, instruction, into.offsets, count, written)
    read = emitter.select(reading, ints(32), source_size or emitter.constant(count), ZERO)
    copy_bytes(emitter, near(emitter, into), near(emitter, origin), count, read, written)


def _tell_checker(emitter: WarpEmitter, instruction: Instruction, offsets: str, count: int, lanes: str) -> None:
    place = emitter.scratch(0)
    emitter.emit(f"store {ints(64)} {offsets}, ptr {place}, align 64")
    emitter.call(
        "check_copy",
        "void",
        ("i64", emitter.state_number()),
        ("i64", emitter.launch_constant("checker")),
        ("i32", instruction.index),
        ("i32", count),
        ("i32", emitter.to_bits(lanes)),
        ("ptr", place),
    )


TRANSLATORS = {"cp": _copy}
