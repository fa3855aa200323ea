"""Device functions into their callers: ``call`` becomes the function's body, its parameters become registers.

A parameter whose address the function takes (a struct that it indexes, say) becomes a local variable instead.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.errors import UnsupportedInstruction
from simulator.ptx.model import (
    BITS,
    Address,
    Immediate,
    Instruction,
    Kernel,
    Negated,
    Operand,
    Pair,
    Register,
    Symbol,
    Variable,
    Vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simulator.ptx.model import Parameter

__all__ = ["Function", "inline_calls"]

_DEEPEST = 16
_NARROWEST = 16


@dataclass
class Function:
    """A ``.func``: a body like a kernel's, and the parameters it returns its results in."""

    body: Kernel
    results: tuple[Parameter, ...]


@dataclass(frozen=True)
class _Frame:
    """One inlined call: the prefix of its names, and the actual parameter of each formal parameter."""

    function: Kernel
    prefix: str
    bindings: Mapping[str, str]
    callers: tuple[str, ...]


def inline_calls(kernel: Kernel, functions: Mapping[str, Function]) -> None:
    """Replace every call of a known function; calls of external ones keep their name and get registers as operands.

    Raises
    ------
    UnsupportedInstruction
        A recursive function, or a parameter read and written in pieces of different sizes.
    """
    if any(instruction.name == "call" for instruction in kernel.instructions):
        _Inliner(kernel, functions).run()
    for index, instruction in enumerate(kernel.instructions):
        instruction.index = index


class _Inliner:
    def __init__(self, kernel: Kernel, functions: Mapping[str, Function]) -> None:
        self._kernel, self._functions = kernel, functions
        self._instructions: list[Instruction] = []
        self._labels: dict[str, int] = {}
        self._pieces: dict[str, dict[int, Register]] = defaultdict(dict)
        self._in_memory: set[str] = set()
        self._calls = 0

    def run(self) -> None:
        self._expand(_Frame(self._kernel, "", {}, ()))
        self._kernel.instructions, self._kernel.labels = self._instructions, self._labels

    def _expand(self, frame: _Frame) -> None:
        """Append the body of the frame's function, with the names of the frame."""
        self._place_parameters(frame)
        labels = defaultdict(list)
        for label, index in frame.function.labels.items():
            labels[index].append(frame.prefix + label)
        for index, instruction in enumerate(frame.function.instructions):
            self._labels |= dict.fromkeys(labels[index], len(self._instructions))
            if instruction.name == "call":
                self._call(instruction, frame)
            elif self._passes_parameters(instruction, frame):
                self._copies(instruction, frame)
            else:
                self._instructions.append(_renamed(instruction, frame))
        self._labels |= dict.fromkeys(labels[len(frame.function.instructions)], len(self._instructions))

    def _place_parameters(self, frame: _Frame) -> None:
        """Declare local variables for the parameters of the following calls whose address is taken."""
        for call in frame.function.instructions:
            callee = call.operands[1] if call.name == "call" else None
            function = self._functions.get(callee.name) if isinstance(callee, Symbol) else None
            if function is None:
                continue
            address_taken = {name for each in function.body.instructions for name in _addresses_taken(each)}
            for formal, actual in self._pairs(call, function, frame):
                if formal.name in address_taken:
                    self._kernel.variables[actual] = Variable(actual, "local", formal.align, formal.size)
                    self._in_memory.add(actual)

    def _pairs(self, call: Instruction, function: Function, frame: _Frame) -> Iterator[tuple[Parameter, str]]:
        """Return each formal parameter with the name of the actual one."""
        results, _, arguments = call.operands
        formal = (*function.results, *function.body.parameters)
        items = [item for operand in (results, arguments) if isinstance(operand, Vector) for item in operand.items]
        if len(formal) != len(items):
            raise UnsupportedInstruction(f"{call.text} (the number of arguments)", call.where)
        return ((parameter, self._parameter(item, frame, call)) for parameter, item in zip(formal, items, strict=True))

    def _call(self, call: Instruction, frame: _Frame) -> None:
        callee = call.operands[1]
        if not isinstance(callee, Symbol):
            raise TypeError(call.text)
        function = self._functions.get(callee.name)
        if function is None:
            self._instructions.append(self._external(call, frame))
            return
        if callee.name in frame.callers or len(frame.callers) >= _DEEPEST:
            raise UnsupportedInstruction(f"{callee.name} calls itself", call.where)
        self._calls += 1
        prefix = f"{callee.name}@{self._calls}:"
        bindings = {formal.name: actual for formal, actual in self._pairs(call, function, frame)}
        for register in function.body.registers.values():
            self._kernel.registers[prefix + register.name] = Register(prefix + register.name, register.type)
        for variable in function.body.variables.values():
            self._kernel.variables[prefix + variable.name] = replace(variable, name=prefix + variable.name)
        if call.predicate is not None:
            skip = replace(call, opcode=("bra",), operands=(), predicate_negated=not call.predicate_negated, targets=("end",))
            self._instructions.append(replace(_renamed(skip, frame), targets=(f"{prefix}end",)))
        self._expand(_Frame(function.body, prefix, bindings, (*frame.callers, callee.name)))
        self._labels[f"{prefix}end"] = len(self._instructions)

    def _external(self, call: Instruction, frame: _Frame) -> Instruction:
        """Return the call with the registers that hold its arguments and take its results."""
        results, callee, arguments = call.operands

        def whole(item: Operand) -> Operand:
            pieces = self._pieces[self._parameter(item, frame, call)]
            if set(pieces) != {0}:
                raise UnsupportedInstruction(f"{call.text} (a struct by value)", call.where)
            return pieces[0]

        def after(item: Operand) -> Operand:
            """Return the register that the load behind the call will read: its width is not known before that."""
            name = self._parameter(item, frame, call)
            return self._piece(name, 0, self._result_bits(item, frame.function), call)

        return replace(
            call,
            operands=(_each(results, after), callee, _each(arguments, whole)),
            predicate=_optional(call.predicate, frame),
        )

    @staticmethod
    def _result_bits(item: Operand, body: Kernel) -> int:
        """Return the width in which the body loads a result."""
        for instruction in body.instructions:
            if instruction.name == "ld" and instruction.has("param"):
                address = instruction.operands[1]
                if isinstance(address, Address) and address.base == item:
                    return BITS[instruction.type]
        return 32

    @staticmethod
    def _parameter(item: Operand | None, frame: _Frame, call: Instruction) -> str:
        if not isinstance(item, Symbol):
            raise UnsupportedInstruction(f"{call.text} (a parameter without a name)", call.where)
        return frame.bindings.get(item.name, frame.prefix + item.name)

    def _passes_parameters(self, instruction: Instruction, frame: _Frame) -> bool:
        """Return whether this loads or stores a parameter of a call, and not one of the kernel's own."""
        if instruction.name not in {"ld", "st"} or instruction.space != "param":
            return False
        base = _parameter_address(instruction).base
        return isinstance(base, Symbol) and (bool(frame.prefix) or frame.function.parameter(base.name) is None)

    def _copies(self, access: Instruction, frame: _Frame) -> None:
        """Write a move per element of a ``ld.param`` or ``st.param``."""
        address = _parameter_address(access)
        name = self._parameter(address.base, frame, access)
        access = _renamed(access, frame)
        if name in self._in_memory:
            self._instructions.append(_local_access(access, Address(Symbol(name), address.offset)))
            return
        value = access.operands[1 if access.name == "st" else 0]
        bits = BITS[access.type]
        for number, item in enumerate(value.items if isinstance(value, Vector) else (value,)):
            piece = self._piece(name, address.offset + number * bits // 8, bits, access)
            target, source = (piece, item) if access.name == "st" else (item, piece)
            opcode = _copy_opcode(target, source, access.type)
            self._instructions.append(replace(access, opcode=opcode, operands=(target, source)))

    def _piece(self, name: str, offset: int, bits: int, access: Instruction) -> Register:
        """Return the register for these bits of a parameter."""
        register = Register(f"{name}+{offset}:{bits}", f"b{max(bits, _NARROWEST)}")
        pieces = self._pieces[name]
        if pieces.setdefault(offset, register) != register:
            raise UnsupportedInstruction(f"{access.text} (a parameter in pieces of different sizes)", access.where)
        self._kernel.registers[register.name] = register
        return register


def _addresses_taken(instruction: Instruction) -> Iterator[str]:
    """Return the symbols an instruction uses as values; the caller knows which of them are parameters."""
    return (operand.name for operand in instruction.operands if isinstance(operand, Symbol))


def _local_access(access: Instruction, address: Address) -> Instruction:
    """Return the load or store of a parameter in local memory."""
    opcode = tuple("local" if part.startswith("param") else part for part in access.opcode)
    first, second = access.operands
    return replace(access, opcode=opcode, operands=(address, second) if access.name == "st" else (first, address))


def _parameter_address(access: Instruction) -> Address:
    address = access.operands[0 if access.name == "st" else 1]
    if not isinstance(address, Address):
        raise UnsupportedInstruction(access.text, access.where)
    return address


def _copy_opcode(target: Operand, source: Operand, type_: str) -> tuple[str, ...]:
    """Return the opcode that moves a value of `type_` between registers of, perhaps, different widths."""
    bits = BITS[type_]
    if not isinstance(target, Register):
        raise TypeError(target)
    same = isinstance(source, Immediate | Symbol) or (isinstance(source, Register) and source.bits == target.bits)
    if same and bits == target.bits:
        return "mov", f"b{bits}"
    if isinstance(source, Immediate):
        return "mov", f"b{target.bits}"
    sign = "s" if type_.startswith("s") else "u"
    return "cvt", f"{sign}{target.bits}", f"{sign}{bits}"


def _renamed(instruction: Instruction, frame: _Frame) -> Instruction:
    """Return a copy under the frame's names; a function's ``ret`` goes to its end."""
    if not frame.prefix:
        return instruction
    returns = instruction.name == "ret"
    return replace(
        instruction,
        opcode=("bra",) if returns else instruction.opcode,
        operands=tuple(_renamed_operand(operand, frame) for operand in instruction.operands),
        predicate=_optional(instruction.predicate, frame),
        targets=(f"{frame.prefix}end",) if returns else tuple(frame.prefix + label for label in instruction.targets),
    )


def _optional(register: Register | None, frame: _Frame) -> Register | None:
    return register and Register(frame.prefix + register.name, register.type)


def _each(operand: Operand, change: Callable[[Operand], Operand]) -> Vector:
    return Vector(tuple(change(item) for item in operand.items)) if isinstance(operand, Vector) else Vector(())


def _renamed_operand(operand: Operand, frame: _Frame) -> Operand:
    renamed = operand
    match operand:
        case Register():
            renamed = Register(frame.prefix + operand.name, operand.type)
        case Negated():
            renamed = Negated(Register(frame.prefix + operand.register.name, operand.register.type))
        case Vector():
            renamed = Vector(tuple(_renamed_operand(item, frame) for item in operand.items))
        case Pair():
            renamed = Pair(_renamed_operand(operand.first, frame), _renamed_operand(operand.second, frame))
        case Address(base=Register() | Symbol() as base):
            inner = _renamed_operand(base, frame)
            renamed = Address(inner if isinstance(inner, Register | Symbol) else base, operand.offset)
        case Symbol() if operand.name in frame.bindings:
            renamed = Symbol(frame.bindings[operand.name], operand.offset)
        case Symbol() if operand.name in frame.function.variables:
            renamed = Symbol(frame.prefix + operand.name, operand.offset)
    return renamed
