"""Writing LLVM IR text: values over 32 lanes, casts, constants, calls, and the fields of a warp's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.interface.warp_state import LANES, OFFSETS, SCRATCH, SLOT_BYTES
from simulator.ptx.model import BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FLOAT", "MASK", "ZERO", "Emitter", "floats", "ints", "signed"]

FLOAT = {16: "half", 32: "float", 64: "double"}
MASK = f"<{LANES} x i1>"
ZERO = "zeroinitializer"
_LAUNCH_CONSTANTS = {"arena": "ptr", "arena_size": "i64", "shared": "i64", "shared_size": "i64", "checker": "i64"}


def ints(bits: int) -> str:
    """Return the type of 32 integers of that width."""
    return f"<{LANES} x i{bits}>"


def floats(bits: int) -> str:
    """Return the type of 32 floats of that width."""
    return f"<{LANES} x {FLOAT[bits]}>"


def signed(value: int, bits: int) -> int:
    """Return the bit pattern of `value` as LLVM writes it: two's complement, signed."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Emitter:
    """The text of one LLVM function at a time, and the declarations all of them need.

    Parameters
    ----------
    native
        The machine has masked gathers, scatters and stores (AVX-512); elsewhere support functions take their place.
    """

    def __init__(self, *, native: bool) -> None:
        self.native = native
        self.lines: list[str] = []
        self.prologue: dict[str, list[str]] = {}
        self.declarations: dict[str, str] = {}
        self._names = 0

    # text

    def emit(self, text: str) -> None:
        """Append a statement."""
        self.lines.append("  " + text)

    def fresh(self, prefix: str) -> str:
        """Return a name no other value or label of the function has."""
        self._names += 1
        return f"{prefix}{self._names}"

    def value(self, expression: str) -> str:
        """Append an assignment and return the new value's name."""
        name = "%" + self.fresh("v")
        self.lines.append(f"  {name} = {expression}")
        return name

    def label(self, name: str) -> None:
        """Start a basic block of LLVM's."""
        self.lines.append(name + ":")

    def branch(self, condition: str, then: str, otherwise: str) -> None:
        """End a basic block of LLVM's on an ``i1``."""
        self.emit(f"br i1 {condition}, label %{then}, label %{otherwise}")

    # operations

    def op(self, opcode: str, kind: str, left: str, right: str | int) -> str:
        """Return ``opcode kind left, right``."""
        return self.value(f"{opcode} {kind} {left}, {right}")

    def cast(self, opcode: str, source: str, value: str, target: str) -> str:
        """Return ``opcode source value to target``; the value itself where both types are the same."""
        return value if source == target else self.value(f"{opcode} {source} {value} to {target}")

    def select(self, condition: str, kind: str, then: str, otherwise: str) -> str:
        """Choose lane by lane."""
        return self.value(f"select {MASK} {condition}, {kind} {then}, {kind} {otherwise}")

    def both(self, left: str, right: str) -> str:
        """Return the lanes that are in both masks."""
        return self.op("and", MASK, left, right)

    def as_float(self, value: str, bits: int) -> str:
        """Reinterpret integers as floats."""
        return self.cast("bitcast", ints(bits), value, floats(bits))

    def as_int(self, value: str, bits: int) -> str:
        """Reinterpret floats as integers."""
        return self.cast("bitcast", floats(bits), value, ints(bits))

    def resize(self, value: str, bits: int, new_bits: int, *, sign: bool = False) -> str:
        """Truncate or extend integers to another width."""
        if bits == new_bits:
            return value
        opcode = "trunc" if bits > new_bits else "sext" if sign else "zext"
        return self.cast(opcode, ints(bits), value, ints(new_bits))

    # constants

    @staticmethod
    def splat(kind: str, value: str | int) -> str:
        """Return a constant with the same scalar in each lane."""
        return ZERO if value in {0, "0"} else f"splat ({kind} {value})"

    def constant(self, value: int, bits: int = 32) -> str:
        """Return the same integer in each lane."""
        return self.splat(f"i{bits}", signed(value, bits) if bits > 1 else value)

    @staticmethod
    def lanes_of(kind: str, values: Iterable[object]) -> str:
        """Return a constant with a scalar per lane."""
        return "<" + ", ".join(f"{kind} {value}" for value in values) + ">"

    def broadcast(self, kind: str, scalar: str) -> str:
        """Return a scalar in each lane."""
        vector = f"<{LANES} x {kind}>"
        first = self.value(f"insertelement {vector} poison, {kind} {scalar}, i32 0")
        return self.value(f"shufflevector {vector} {first}, {vector} poison, <{LANES} x i32> {ZERO}")

    def to_mask(self, bits: str) -> str:
        """Turn an ``i32`` of lane bits into a vector of booleans."""
        return self.value(f"bitcast i32 {bits} to {MASK}")

    def to_bits(self, mask: str) -> str:
        """Turn a vector of booleans into an ``i32`` of lane bits."""
        return self.value(f"bitcast {MASK} {mask} to i32")

    # calls

    def call(self, name: str, result: str, *arguments: tuple[str, str | int]) -> str:
        """Call a function and declare it; the returned name is empty for ``void``."""
        self.declarations[name] = f"declare {result} @{name}({', '.join(kind for kind, _ in arguments)})"
        text = f"call {result} @{name}({', '.join(f'{kind} {value}' for kind, value in arguments)})"
        if result == "void":
            self.emit(text)
            return ""
        return self.value(text)

    def intrinsic(self, name: str, bits: int, *values: str) -> str:
        """Call an LLVM intrinsic that works on floats lane by lane.

        Half precision goes through float, whose results round to the same half; ``fma`` goes through double with a
        round-to-odd step, after which the second rounding is exact (Boldo and Melquiond, 2008).
        """
        if bits != BITS["f16"]:
            kind = floats(bits)
            return self.call(f"llvm.{name}.v{LANES}f{bits}", kind, *[(kind, value) for value in values])
        wide = 64 if name == "fma" else 32
        result = self.intrinsic(name, wide, *[self.cast("fpext", floats(16), v, floats(wide)) for v in values])
        return self.narrow_double(result, 16) if name == "fma" else self.cast("fptrunc", floats(32), result, floats(16))

    def double_to_odd_float(self, value: str) -> str:
        """Cut doubles to float, keeping the last bit odd where anything was lost, so that the next rounding is the only one."""
        single = self.cast("fptrunc", floats(64), value, floats(32))
        back = self.cast("fpext", floats(32), single, floats(64))
        inexact = self.op("fcmp one", floats(64), back, value)
        # Where rounding went away from zero, step back to the neighbour that truncation gives.
        away = self.op("fcmp ogt", floats(64), self.intrinsic("fabs", 64, back), self.intrinsic("fabs", 64, value))
        pattern = self.as_int(single, 32)
        cut = self.op("sub", ints(32), pattern, self.cast("zext", MASK, away, ints(32)))
        odd = self.select(inexact, ints(32), self.op("or", ints(32), cut, self.constant(1)), pattern)
        return self.as_float(odd, 32)

    def narrow_double(self, value: str, bits: int) -> str:
        """Round doubles, once, to float or half."""
        if bits == BITS["f32"]:
            return self.cast("fptrunc", floats(64), value, floats(32))
        return self.cast("fptrunc", floats(32), self.double_to_odd_float(value), floats(16))

    def integer_intrinsic(self, name: str, bits: int, *arguments: tuple[str, str]) -> str:
        """Call an LLVM intrinsic that works on integers lane by lane."""
        return self.call(f"llvm.{name}.v{LANES}i{bits}", ints(bits), *arguments)

    def first_lane(self, bits: str) -> str:
        """Return the index of the lowest lane of an ``i32`` of lane bits."""
        return self.call("llvm.cttz.i32", "i32", ("i32", bits), ("i1", "true"))

    # the warp's state

    def address(self, offset: int) -> str:
        """Return a pointer into the warp's state."""
        return self.value(f"getelementptr i8, ptr %state, i64 {offset}")

    def field(self, name: str, kind: str, extra: int = 0) -> str:
        """Load a field of the header."""
        return self.value(f"load {kind}, ptr {self.address(OFFSETS[name] + extra)}")

    def set_field(self, name: str, kind: str, value: str | int) -> None:
        """Store a field of the header."""
        self.emit(f"store {kind} {value}, ptr {self.address(OFFSETS[name])}")

    def launch_constant(self, name: str) -> str:
        """Load a field that a launch does not change, once per function."""
        if name not in self.prologue:
            self.prologue[name] = [
                f"  %launch.{name}.address = getelementptr i8, ptr %state, i64 {OFFSETS[name]}",
                f"  %launch.{name} = load {_LAUNCH_CONSTANTS[name]}, ptr %launch.{name}.address",
            ]
        return f"%launch.{name}"

    def state_number(self) -> str:
        """Return the address of the warp's state as an integer, as support functions take it."""
        self.prologue["state"] = ["  %state.number = ptrtoint ptr %state to i64"]
        return "%state.number"

    def scratch(self, slot: int, *, half: bool = False) -> str:
        """Return a pointer to a scratch slot; with `half`, slots of 32 lanes of 4 bytes are counted."""
        return self.address(SCRATCH + (SLOT_BYTES // 2 if half else SLOT_BYTES) * slot)
