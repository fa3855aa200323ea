"""Data flow: which registers an instruction writes and reads, and which are live between blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.ptx.model import Address, registers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.ptx.model import Block, Instruction, Kernel, Register

__all__ = ["bits_read", "definitions_and_uses", "set_liveness"]

_NO_DESTINATION = {
    "applypriority", "bar", "barrier", "bra", "brkpt", "brx", "cp", "discard", "exit", "fence", "griddepcontrol", "membar",
    "nanosleep", "pmevent", "prefetch", "prefetchu", "red", "ret", "setmaxnreg", "st", "stmatrix", "trap",
}  # fmt: skip


def definitions_and_uses(instruction: Instruction) -> tuple[tuple[Register, ...], tuple[Register, ...]]:
    """Return the registers that an instruction writes, and the registers that it reads, with its predicate.

    The first operand is the destination, except where the opcode has none; registers in brackets are read in any case.
    """
    writes = _has_destination(instruction)
    defined: tuple[Register, ...] = ()
    used: tuple[Register, ...] = ()
    for position, operand in enumerate(instruction.operands):
        if position == 0 and writes and not isinstance(operand, Address):
            defined += registers_of(operand)
        else:
            used += registers_of(operand)
    return defined, used if instruction.predicate is None else (*used, instruction.predicate)


def _has_destination(instruction: Instruction) -> bool:
    if instruction.name in {"bar", "barrier"}:
        return instruction.has("red")
    if instruction.name == "wmma":
        return not instruction.has("store")
    return instruction.name not in _NO_DESTINATION


def set_liveness(kernel: Kernel) -> None:
    """Fill `live_in` and `live_out` of every block.

    A predicated write keeps the old value in other lanes, and so reads it. Sets are bit masks while they are worked on.
    """
    names = list(kernel.registers)
    bit = {name: 1 << position for position, name in enumerate(names)}
    effects = [_effects(block, bit) for block in kernel.blocks]
    live_in = [0] * len(kernel.blocks)
    live_out = [0] * len(kernel.blocks)
    order = sorted(kernel.blocks, key=lambda block: -block.priority)
    changed = True
    while changed:
        changed = False
        for block in order:
            reads, writes = effects[block.index]
            after = 0
            for successor in block.successors:
                after |= live_in[successor]
            before = reads | (after & ~writes)
            changed |= before != live_in[block.index]
            live_in[block.index], live_out[block.index] = before, after
    for block in kernel.blocks:
        block.live_in = frozenset(_members(live_in[block.index], names))
        block.live_out = frozenset(_members(live_out[block.index], names))


def _effects(block: Block, bit: dict[str, int]) -> tuple[int, int]:
    """Return (read before written in the block, written in the block)."""
    reads = writes = 0
    for instruction in block.instructions:
        defined, used = definitions_and_uses(instruction)
        for register in used:
            reads |= bit[register.name] & ~writes
        for register in defined:
            if instruction.predicate is None:
                writes |= bit[register.name]
            else:
                reads |= bit[register.name] & ~writes
    return reads, writes


def _members(mask: int, names: list[str]) -> Iterable[str]:
    while mask:
        lowest = mask & -mask
        yield names[lowest.bit_length() - 1]
        mask ^= lowest


_COPIES = {"mov", "selp", "shfl", "cvt"}
_BITWISE = {
    "abs", "add", "and", "bfe", "bfi", "bfind", "brev", "clz", "cnot", "div", "dp2a", "dp4a", "lop3", "mad", "max", "min",
    "mul", "neg", "not", "or", "popc", "prmt", "rem", "sad", "set", "setp", "shf", "shl", "shr", "slct", "sub", "xor",
}  # fmt: skip


def bits_read(kernel: Kernel) -> frozenset[str]:
    """Return the registers whose bits an integer instruction reads, directly or in a copy.

    Where arithmetic leaves a NaN in one of them, its bits matter.
    A store counts as a read of the bits, since a later load may read them.
    """
    sources: dict[str, set[str]] = {}
    waiting: list[str] = []
    for instruction in kernel.instructions:
        defined, used = definitions_and_uses(instruction)
        if instruction.name in _COPIES:
            for register in defined:
                sources.setdefault(register.name, set()).update(r.name for r in used)
        elif instruction.name == "st" or (instruction.name in _BITWISE and not instruction.type.startswith(("f", "bf"))):
            waiting += [register.name for register in used]
    names: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += sources.get(name, ())
    return frozenset(names)
