"""Reading and writing PTX operands as vectors of 32 lanes, within one basic block."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from simulator.codegen.emitter import MASK, ZERO, Emitter, ints, signed
from simulator.codegen.registers import allocate
from simulator.errors import UnsupportedInstruction
from simulator.interface.warp_state import (
    ADDRESS_BIAS,
    ALL_LANES,
    LANES,
    OFFSETS,
    PARAMETERS,
    Fault,
    StateLayout,
    Status,
    returned,
)
from simulator.ptx.dataflow import bits_read
from simulator.ptx.model import BITS, SINK, Immediate, Negated, Pair, Register, Special, Symbol, Vector

if TYPE_CHECKING:
    from simulator.ptx.model import Block, Instruction, Kernel, Operand

__all__ = ["Place", "WarpEmitter", "items_of", "refuse"]

Place = tuple[str, int]
"""A variable's state space and its offset: in the block's shared or the thread's local memory, or in the arena."""

_GRID_FIELDS = {"%ntid": "ntid", "%ctaid": "ctaid", "%nctaid": "nctaid"}
_SCALAR_FIELDS = {"%warpid": "warp", "%nwarpid": "warps", "%dynamic_smem_size": "dynamic_shared"}
_ALWAYS_ZERO = {"%smid", "%gridid"}
_LANE_MASKS = {
    "%lanemask_eq": lambda lane: 1 << lane,
    "%lanemask_lt": lambda lane: (1 << lane) - 1,
    "%lanemask_le": lambda lane: (2 << lane) - 1,
    "%lanemask_gt": lambda lane: ALL_LANES & ~((2 << lane) - 1),
    "%lanemask_ge": lambda lane: ALL_LANES & ~((1 << lane) - 1),
}


def refuse(instruction: Instruction, part: str = "") -> UnsupportedInstruction:
    """Return the error for an instruction, or for a part of it, that is not simulated."""
    text = instruction.text or ".".join(instruction.opcode)
    return UnsupportedInstruction(f"{part} in {text!r}" if part else text, instruction.where)


def items_of(operand: Operand) -> tuple[Operand, ...]:
    """Return the elements of a vector operand; a scalar is a vector of one."""
    return operand.items if isinstance(operand, Vector) else (operand,)


def _narrowed(literal: Immediate, bits: int) -> int:
    """Return the bit pattern of a literal at the width an instruction reads it with."""
    if literal.type != "f64" or bits == BITS["f64"]:
        return literal.value
    number = struct.unpack("<d", struct.pack("<Q", literal.value))[0]
    kind, unsigned = (np.float32, np.uint32) if bits == BITS["f32"] else (np.float16, np.uint16)
    return int(np.array(number, kind).view(unsigned))


class WarpEmitter(Emitter):
    """Translates the blocks of one kernel; the opcode families call its methods.

    Parameters
    ----------
    kernel
        The parsed kernel.
    symbols
        Places of the variables of the module and of the kernel's body.
    checked
        Call the checker at each access, and count.
    native
        As for `Emitter`.
    """

    def __init__(self, kernel: Kernel, symbols: dict[str, Place], *, checked: bool, native: bool) -> None:
        super().__init__(native=native)
        self.kernel, self.symbols, self.checked = kernel, symbols, checked
        self.layout = StateLayout(len(kernel.blocks))
        self.file = allocate(kernel, self.layout.registers)
        self.helpers: dict[str, str] = {}
        self.bits_read = bits_read(kernel)
        self.start(kernel.blocks[-1])

    def start(self, block: Block) -> None:
        """Forget the last block's values and begin another function."""
        self.lines, self.prologue = [], {}
        self.block = block
        self.values: dict[str, str] = {}
        self.changed: set[str] = set()
        self.refused: list[tuple[int, str]] = []
        self.may_stop = False

    # lanes

    active_bits = "%active"
    """The lanes that run the block, as the bits of an ``i32``."""

    @property
    def active(self) -> str:
        """Return the lanes that run the block, as booleans."""
        self.prologue["active"] = [f"  %active.mask = bitcast i32 %active to {MASK}"]
        return "%active.mask"

    def to_bits(self, mask: str) -> str:
        """Turn a vector of booleans into an ``i32`` of lane bits."""
        return self.active_bits if mask == "%active.mask" else super().to_bits(mask)

    # registers

    def register(self, register: Register) -> str:
        """Return a register's current value: 32 integers, or 32 booleans for a predicate."""
        known = self.values.get(register.name)
        if known is None:
            known = self.values[register.name] = self._load_register(register)
        return known

    def _load_register(self, register: Register) -> str:
        offset = self.file.slots.get(register.name)
        if offset is None:  # read before any write: a NaN, as in registers that are live across blocks
            return ZERO if register.bits == 1 else self.constant(-1, register.bits)
        place = self.address(offset)
        if register.bits == 1:
            return self.to_mask(self.value(f"load i32, ptr {place}"))
        return self.value(f"load {ints(register.bits)}, ptr {place}, align 64")

    def write_back(self) -> None:
        """Store the registers that later blocks read, for the lanes that run."""
        for name in sorted(self.changed & self.block.live_out):
            bits, place, value = self.kernel.registers[name].bits, self.address(self.file.slots[name]), self.values[name]
            if bits == 1:
                new, old = self.to_bits(value), self.value(f"load i32, ptr {place}")
                unchanged = self.op("and", "i32", old, self.op("xor", "i32", self.active_bits, -1))
                merged = self.op("or", "i32", self.op("and", "i32", new, self.active_bits), unchanged)
                self.emit(f"store i32 {merged}, ptr {place}")
            elif self.native:
                kind = ints(bits)
                arguments = ((kind, value), ("ptr", place), ("i32", "64"), (MASK, self.active))
                self.call(f"llvm.masked.store.v{LANES}i{bits}.p0", "void", *arguments)
            else:
                kind = ints(bits)
                old = self.value(f"load {kind}, ptr {place}, align 64")
                self.emit(f"store {kind} {self.select(self.active, kind, value, old)}, ptr {place}, align 64")

    # reading

    def read(self, operand: Operand, bits: int) -> str:
        """Return an operand as 32 integers of `bits`; registers of another width are cut or zero-extended."""
        match operand:
            case Register():
                value = self.register(operand)
                if operand.bits == 1:
                    return self.cast("zext", MASK, value, ints(bits))
                return self.resize(value, operand.bits, bits)
            case Immediate():
                return self.constant(_narrowed(operand, bits), bits)
            case Special():
                return self._special(operand.name, bits)
            case Symbol():
                return self.constant(self.symbol_address(operand), bits)
        raise TypeError(f"operand {operand!r} is no value")

    def read_float(self, operand: Operand, bits: int) -> str:
        """Return an operand as 32 floats of `bits`."""
        return self.as_float(self.read(operand, bits), bits)

    def read_predicate(self, operand: Operand, *, negated: bool = False) -> str:
        """Return a predicate operand as 32 booleans."""
        if isinstance(operand, Negated):
            return self.read_predicate(operand.register, negated=not negated)
        if isinstance(operand, Immediate):
            value = self.constant(1, 1) if operand.value else ZERO
        elif isinstance(operand, Register) and operand.bits == 1:
            value = self.register(operand)
        else:
            raise TypeError(f"operand {operand!r} is no predicate")
        return self.op("xor", MASK, value, self.constant(1, 1)) if negated else value

    def lanes(self, instruction: Instruction) -> str:
        """Return the lanes that execute an instruction: the active ones whose guard predicate holds."""
        if instruction.predicate is None:
            return self.active
        return self.both(self.active, self._guard(instruction))

    def _guard(self, instruction: Instruction) -> str:
        if instruction.predicate is None:
            return self.constant(1, 1)
        return self.read_predicate(instruction.predicate, negated=instruction.predicate_negated)

    def lane_numbers(self, bits: int = 32) -> str:
        """Return 0, 1, ..., 31."""
        return self.lanes_of(f"i{bits}", range(LANES))

    def _special(self, name: str, bits: int) -> str:
        base, _, axis = name.partition(".")
        if base == "%tid" and axis:
            place = self.address(OFFSETS["tid"] + 4 * LANES * "xyz".index(axis))
            value = self.value(f"load {ints(32)}, ptr {place}, align 4")
        elif base in _GRID_FIELDS and axis:
            value = self.broadcast("i32", self.field(_GRID_FIELDS[base], "i32", 4 * "xyz".index(axis)))
        elif name in _SCALAR_FIELDS:
            value = self.broadcast("i32", self.field(_SCALAR_FIELDS[name], "i32"))
        elif name == "%laneid":
            value = self.lane_numbers()
        elif name in _LANE_MASKS:
            value = self.lanes_of("i32", [signed(_LANE_MASKS[name](lane), 32) for lane in range(LANES)])
        elif name == "%nsmid":
            value = self.constant(1)
        elif name in _ALWAYS_ZERO:
            value = ZERO
        elif name in {"%clock", "%clock64", "%globaltimer"}:  # instructions executed: time that moves, and no more
            return self.resize(self.broadcast("i64", self._tick()), 64, bits)
        else:
            raise UnsupportedInstruction(f"special register {name}")
        return self.resize(value, 32, bits)

    def _tick(self) -> str:
        now = self.op("add", "i64", self.field("clock", "i64"), len(self.block.instructions))
        self.set_field("clock", "i64", now)
        return now

    def symbol_address(self, symbol: Symbol) -> int:
        """Return a variable's address: within its window for shared and local memory, else generic."""
        if symbol.name in self.symbols:
            space, offset = self.symbols[symbol.name]
            return symbol.offset + (offset if space in {"shared", "local"} else ADDRESS_BIAS + offset)
        parameter = self.kernel.parameter(symbol.name)
        if parameter is None:
            raise UnsupportedInstruction(f"symbol {symbol.name!r}, which nothing here defines")
        return ADDRESS_BIAS + PARAMETERS + parameter.offset + symbol.offset

    # writing

    def write(self, target: Operand, value: str, bits: int, instruction: Instruction) -> None:
        """Assign integers of `bits` to a register, in the lanes where the guard predicate holds."""
        if target == SINK:
            return
        if not isinstance(target, Register) or target.bits == 1:
            raise TypeError(f"{target!r} takes no {bits}-bit value")
        value = self.resize(value, bits, target.bits)
        if instruction.predicate is not None:
            value = self.select(self._guard(instruction), ints(target.bits), value, self.register(target))
        self.values[target.name] = value
        self.changed.add(target.name)

    def write_predicate(self, target: Operand, value: str, instruction: Instruction) -> None:
        """Assign booleans to a predicate register, in the lanes where the guard predicate holds."""
        if target == SINK:
            return
        if not isinstance(target, Register) or target.bits != 1:
            raise TypeError(f"{target!r} is no predicate")
        if instruction.predicate is not None:
            value = self.select(self._guard(instruction), MASK, value, self.register(target))
        self.values[target.name] = value
        self.changed.add(target.name)

    def write_pair(self, target: Operand, value: str, predicate: str, instruction: Instruction) -> None:
        """Assign a 32-bit result and, where the destination is ``d|p``, the predicate beside it."""
        if isinstance(target, Pair):
            self.write(target.first, value, 32, instruction)
            self.write_predicate(target.second, predicate, instruction)
        else:
            self.write(target, value, 32, instruction)

    # ends

    def leave(self, status: Status) -> None:
        """End the function and hand a status to the scheduler."""
        self.emit(f"ret i64 {returned(status)}")

    def fault(self, code: int, index: str | int, lanes: str) -> None:
        """End the launch with a fault at an instruction."""
        self.set_field("fault_code", "i32", code)
        self.set_field("fault_pc", "i32", index)
        self.set_field("fault_lanes", "i32", lanes)
        self.leave(Status.FAULT)

    def stop_if(self, condition: str) -> None:
        """End the launch if the checker demands it by an ``i1``; the checker has reported the reason."""
        on = self.fresh("on")
        self.branch(condition, "stopped", on)
        self.label(on)
        self.may_stop = True

    def stop(self) -> None:
        """Write where `stop_if` goes, at the function's end."""
        self.label("stopped")
        self.set_field("fault_code", "i32", int(Fault.CHECKED))
        self.leave(Status.FAULT)
