"""The result of the PTX parser: modules of kernels of basic blocks of instructions.

Terms follow the PTX ISA (version 8.0): opcodes and their modifiers (section 4.3), state spaces and types (section 5), operands
(section 6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BITS",
    "SINK",
    "Address",
    "Block",
    "Immediate",
    "Instruction",
    "Kernel",
    "Location",
    "Module",
    "Negated",
    "Operand",
    "Pair",
    "Parameter",
    "Register",
    "Signature",
    "Special",
    "Symbol",
    "Variable",
    "Vector",
    "registers_of",
]

BITS = {
    "pred": 1, "b8": 8, "u8": 8, "s8": 8, "b16": 16, "u16": 16, "s16": 16, "f16": 16, "bf16": 16,
    "b32": 32, "u32": 32, "s32": 32, "f32": 32, "f16x2": 32, "bf16x2": 32, "tf32": 32,
    "b64": 64, "u64": 64, "s64": 64, "f64": 64, "f32x2": 64, "b128": 128,
}  # fmt: skip
"""Width in bits of each fundamental type (PTX ISA section 5.2) and of the packed and alternate formats."""

SPACES = ("global", "shared", "local", "const", "param")


@dataclass(frozen=True, slots=True)
class Register:
    """A virtual register; its name is unique within the kernel, in all scopes."""

    name: str
    type: str

    @property
    def bits(self) -> int:
        """Return the register's width; a predicate has one bit."""
        return BITS[self.type]


@dataclass(frozen=True, slots=True)
class Immediate:
    """A literal: an integer (may be negative), or the bit pattern of the float type named by `type`."""

    value: int
    type: str = ""
    """``""`` for an integer, ``"f32"`` for 0f..., ``"f64"`` for 0d... and decimal literals."""


@dataclass(frozen=True, slots=True)
class Special:
    """A special register such as ``%tid.x`` (PTX ISA section 10)."""

    name: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, parameter, function or label, plus a byte offset."""

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """An operand in brackets: ``[base+offset]``."""

    base: Register | Symbol | None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Vector:
    """``{a, b, ...}``, or the parenthesised lists of a call."""

    items: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """``!p`` as a source operand."""

    register: Register


@dataclass(frozen=True, slots=True)
class Pair:
    """``a|b``: two destinations of one instruction."""

    first: Operand
    second: Operand


Operand = Register | Immediate | Special | Symbol | Address | Vector | Negated | Pair

SINK = Symbol("_")
"""The bit bucket: a destination that no instruction reads."""


@dataclass(frozen=True, slots=True)
class Location:
    """A line of a source file."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{PurePath(self.path).name}:{self.line}"


@dataclass(slots=True)
class Instruction:
    """One instruction; its operands are in the order of the text, destinations first."""

    opcode: tuple[str, ...]
    """Split at the dots: ``("ld", "global", "nc", "v4", "f32")``."""
    operands: tuple[Operand, ...]
    predicate: Register | None = None
    predicate_negated: bool = False
    location: Location | None = None
    """The line of the user's source: the line of the code, or the innermost call site outside the simulator's own header."""
    frames: tuple[Location, ...] = ()
    """The whole chain of inlined calls, innermost first, `location` among them."""
    ptx_line: int = 0
    text: str = ""
    index: int = 0
    """Position in `Kernel.instructions`."""
    targets: tuple[str, ...] = ()
    """The labels of a ``bra`` (one) or a ``brx.idx`` (the whole table, in its order), resolved: keys of `Kernel.labels`."""

    @property
    def name(self) -> str:
        """Return the opcode without its modifiers."""
        return self.opcode[0]

    @property
    def type(self) -> str:
        """Return the last type of the opcode, which is the operands' type in most families, or ``""``."""
        return next((part for part in reversed(self.opcode) if part in BITS), "")

    @property
    def types(self) -> tuple[str, ...]:
        """Return every type of the opcode in order: destination before source in ``cvt``, d, a, b, c in ``mma``."""
        return tuple(part for part in self.opcode[1:] if part in BITS)

    @property
    def space(self) -> str:
        """Return the state space of a memory instruction, ``"generic"`` where none is named; sub-qualifiers are dropped."""
        return next((space for part in self.opcode[1:] if (space := part.partition("::")[0]) in SPACES), "generic")

    @property
    def where(self) -> str:
        """Return the place to show in a message: ``file.cu:12``, or the line of the PTX where no source is known."""
        return str(self.location) if self.location else f"PTX line {self.ptx_line}"

    def has(self, modifier: str) -> bool:
        """Return whether the opcode carries this modifier."""
        return modifier in self.opcode[1:]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the module or of a kernel's body; the layout of memory gives it an address."""

    name: str
    space: str
    align: int
    size: int
    """Bytes; 0 for ``extern .shared x[]``, whose size comes with the launch."""
    initial: bytes | None = None
    relocations: tuple[tuple[int, Symbol], ...] = ()
    """Addresses in the initial value: (byte offset in the variable, symbol), eight bytes each."""
    external: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """A kernel parameter and its place in the parameter block (aligned as in PTX ISA section 5.1.6)."""

    name: str
    type: str
    size: int
    align: int
    offset: int = 0
    count: int = 0
    """Elements of an array parameter (a struct passed by value); 0 for a scalar."""


@dataclass(slots=True)
class Block:
    """A basic block. The last of a kernel is its exit: no instructions, no successors."""

    index: int
    instructions: list[Instruction]
    synchronises: bool = False
    """It starts with an instruction that must wait for other lanes, of the warp or of the whole block."""
    successors: tuple[int, ...] = ()
    """Block indices without repeats. After a conditional branch: (target, next block)."""
    table: tuple[int, ...] = ()
    """For a final ``brx.idx``: the block of each table entry, repeats kept."""
    priority: int = 0
    """Position in the weak topological order: pending blocks run lowest first, so that lanes meet again where paths join."""
    reconvergence: int | None = None
    """The immediate post-dominator, the first block every path from here passes; None where no path reaches the exit."""
    live_in: frozenset[str] = frozenset()
    live_out: frozenset[str] = frozenset()

    @property
    def terminator(self) -> Instruction | None:
        """Return the branch, return, exit or trap that ends the block, or None where control falls through."""
        last = self.instructions[-1] if self.instructions else None
        return last if last is not None and last.name in {"bra", "brx", "ret", "exit", "trap"} else None


@dataclass(frozen=True, slots=True)
class Signature:
    """The requirements of a kernel on its launches; the fields are the kernel's."""

    name: str
    parameters: tuple[Parameter, ...]
    directives: dict[str, tuple[int, ...]]

    @property
    def parameter_bytes(self) -> int:
        """Return the size of the parameter block."""
        return max((p.offset + p.size for p in self.parameters), default=0)


@dataclass(slots=True)
class Kernel:
    """An entry point, its device functions inlined.

    A call that remains is of an external function, and reads
    ``call (results), name, (arguments)``: operands are Vector, Symbol, Vector, their items registers or literals.
    """

    name: str
    parameters: tuple[Parameter, ...]
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    """Label to the index of the instruction that follows it (the length of the list for the end)."""
    registers: dict[str, Register] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    """Shared and local variables declared in the body, inlined functions' included."""
    directives: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Performance directives, for example ``{"maxntid": (128, 1, 1)}``."""
    blocks: list[Block] = field(default_factory=list)
    location: Location | None = None

    @property
    def signature(self) -> Signature:
        """Return the requirements on launches."""
        return Signature(self.name, self.parameters, self.directives)

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of that name, or None."""
        return next((p for p in self.parameters if p.name == name), None)


@dataclass(slots=True)
class Module:
    """A translation unit: the PTX of one .cu file."""

    version: str = ""
    target: str = ""
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    """Module-scope variables: global, const, and shared ones that several kernels may name."""
    files: dict[int, str] = field(default_factory=dict)


def registers_of(operand: Operand) -> tuple[Register, ...]:
    """Return the registers an operand mentions, in order."""
    match operand:
        case Register():
            return (operand,)
        case Negated():
            return (operand.register,)
        case Vector():
            return tuple(r for item in operand.items for r in registers_of(item))
        case Pair():
            return registers_of(operand.first) + registers_of(operand.second)
        case Address(base=Register() as base):
            return (base,)
    return ()
