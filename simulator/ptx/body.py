"""Function bodies: registers, scopes, labels, instructions and their operands (PTX ISA 8.0, sections 4.3, 6 and 9.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.errors import UnsupportedInstruction
from simulator.ptx.declarations import variables
from simulator.ptx.lexer import integer, literal
from simulator.ptx.locations import frames_of, innermost
from simulator.ptx.model import (
    BITS,
    SINK,
    Address,
    Immediate,
    Instruction,
    Kernel,
    Location,
    Negated,
    Operand,
    Pair,
    Register,
    Special,
    Symbol,
    Variable,
    Vector,
)

if TYPE_CHECKING:
    from simulator.ptx.lexer import Tokens

__all__ = ["read_body"]

_SPACES = re.compile(r"\s+|//[^\n]*")
_CLOSING = {"{": "}", "(": ")"}
_SIGN = {"f32": 1 << 31, "f64": 1 << 63}


@dataclass
class _Scope:
    """The declarations in a pair of braces; inline assembly and call sequences open one each."""

    parent: _Scope | None = None
    suffix: str = ""
    registers: dict[str, Register] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)


def read_body(tokens: Tokens, kernel: Kernel, files: dict[int, str]) -> None:
    """Read the statements between the braces of `kernel` and store them in it."""
    _Body(tokens, kernel, files).read()


class _Body:
    def __init__(self, tokens: Tokens, kernel: Kernel, files: dict[int, str]) -> None:
        self._tokens, self._kernel, self._files = tokens, kernel, files
        self._scope = _Scope()
        self._scopes = 0
        self._frames: tuple[Location, ...] = ()
        self._location: Location | None = None
        self._opcode: list[str] = []
        self._jumps: list[tuple[Instruction, str, _Scope]] = []

    def read(self) -> None:
        tokens = self._tokens
        tokens.expect("{")
        while True:
            word = tokens.text
            if tokens.accept("{"):
                self._scopes += 1
                self._scope = _Scope(self._scope, f"#{self._scopes}")
            elif tokens.accept("}"):
                if self._scope.parent is None:
                    break
                self._scope = self._scope.parent
            elif tokens.accept(";"):
                pass
            elif tokens.kind == "loc":
                self._enter_line(frames_of(tokens.take(), self._files))
            elif tokens.kind == "dot":
                self._directive(word)
            elif tokens.kind == "name" and tokens.ahead().text == ":":
                self._label()
            else:
                self._instruction()
        self._resolve_jumps()

    def _enter_line(self, frames: tuple[Location, ...]) -> None:
        """Remember the line; code of no line counts to the one before."""
        if not frames:
            return
        self._frames, self._location = frames, innermost(frames)
        if self._kernel.location is None:
            self._kernel.location = self._location

    def _directive(self, word: str) -> None:
        tokens = self._tokens
        if word == ".reg":
            self._registers()
        elif word in {".shared", ".local", ".global", ".const"}:
            for variable in variables(tokens):
                name = variable.name + self._scope.suffix
                self._scope.symbols[variable.name] = name
                self._kernel.variables[name] = Variable(
                    name, variable.space, variable.align, variable.size, variable.initial, variable.relocations
                )
        elif word == ".param":
            for variable in variables(tokens):
                self._scope.symbols[variable.name] = variable.name + self._scope.suffix
        elif word == ".pragma":
            tokens.skip_past(";")
        else:
            raise tokens.error(f"unknown directive {word!r}")

    def _registers(self) -> None:
        tokens = self._tokens
        tokens.expect(".reg")
        type_ = tokens.take()[1:]
        if type_ not in BITS:
            raise tokens.error(f"registers of type .{type_} are not known")
        while True:
            name = tokens.take()
            if tokens.accept("<"):
                for number in range(integer(tokens.take())):
                    self._declare(f"{name}{number}", type_)
                tokens.expect(">")
            else:
                self._declare(name, type_)
            if not tokens.accept(","):
                break
        tokens.expect(";")

    def _declare(self, name: str, type_: str) -> None:
        register = Register(name + self._scope.suffix, type_)
        self._scope.registers[name] = self._kernel.registers[register.name] = register

    def _label(self) -> None:
        tokens = self._tokens
        name = tokens.take()
        tokens.expect(":")
        if tokens.accept(".branchtargets"):
            self._scope.tables[name] = [tokens.take()]
            while tokens.accept(","):
                self._scope.tables[name].append(tokens.take())
            tokens.expect(";")
        elif tokens.accept(".callprototype"):
            tokens.skip_past(";")
        else:
            unique = name + self._scope.suffix
            self._scope.labels[name] = unique
            self._kernel.labels[unique] = len(self._kernel.instructions)

    def _instruction(self) -> None:
        tokens = self._tokens
        start, line = tokens.position, tokens.line
        predicate, negated = None, False
        if tokens.accept("@"):
            negated = tokens.accept("!")
            predicate = self._predicate()
        if tokens.kind != "name":
            raise tokens.error(f"expected an instruction, found {tokens.text!r}")
        opcode = [tokens.take()]
        while tokens.kind == "dot":
            opcode += tokens.take()[1:].split(".")
        self._opcode = opcode
        operands: list[Operand] = []
        while tokens.text != ";":
            operands.append(self._operand())
            if not tokens.accept(","):
                break
        end = tokens.position
        tokens.expect(";")
        instruction = Instruction(
            tuple(opcode),
            tuple(operands),
            predicate,
            negated,
            self._location,
            self._frames,
            line,
            _SPACES.sub(" ", tokens.source[start:end]).strip(),
        )
        self._kernel.instructions.append(instruction)
        if instruction.name in {"bra", "brx"}:
            self._note_jump(instruction)
        elif instruction.name == "call":
            instruction.operands = _call_operands(instruction)

    def _predicate(self) -> Register:
        tokens = self._tokens
        register = self._find_register(tokens.text)
        if register is None:
            raise tokens.error(f"unknown predicate {tokens.text!r}")
        tokens.take()
        return register

    def _operand(self) -> Operand:
        tokens = self._tokens
        kind = tokens.kind
        if kind in {"int", "float"}:
            return literal(kind, tokens.take())
        if kind == "name":
            return self._name()
        mark = tokens.take()
        if mark in _CLOSING:
            return self._list(_CLOSING[mark])
        if mark == "[":
            return self._address()
        if mark == "!":
            return Negated(self._predicate())
        if mark in {"-", "~"} and self._tokens.kind in {"int", "float"}:
            value = literal(self._tokens.kind, self._tokens.take())
            return _negative(value) if mark == "-" else Immediate(~value.value)
        raise tokens.error(f"{mark!r} begins no operand")

    def _list(self, end: str) -> Vector:
        items: list[Operand] = []
        while not self._tokens.accept(end):
            items.append(self._operand())
            self._tokens.accept(",")
        return Vector(tuple(items))

    def _name(self) -> Operand:
        """Read an operand that begins with a name: a register, a pair of destinations, a special register or a symbol."""
        tokens = self._tokens
        name = tokens.take()
        operand: Operand
        if (register := self._find_register(name)) is not None:
            operand = register
        elif name == "_":
            operand = SINK
        elif name == "WARP_SZ":
            return Immediate(32)
        elif name.startswith("%"):
            return Special(name)
        else:
            symbol = self._symbol(name)
            if tokens.text in {"+", "-"} and tokens.ahead().kind == "int":
                sign = 1 if tokens.take() == "+" else -1
                symbol = Symbol(symbol.name, sign * integer(tokens.take()))
            operand = symbol
        return Pair(operand, self._operand()) if tokens.accept("|") else operand

    def _address(self) -> Address:
        """Read ``base+offset]``; the offset may be negative, and a sum."""
        tokens = self._tokens
        base: Register | Symbol | None = None
        offset, sign = 0, 1
        while not tokens.accept("]"):
            if tokens.accept("+"):
                continue
            if tokens.accept("-"):
                sign = -sign
            elif tokens.kind == "int":
                offset += sign * integer(tokens.take())
                sign = 1
            elif tokens.kind == "name" and base is None:
                name = tokens.take()
                base = self._find_register(name) or self._symbol(name)
            else:
                raise UnsupportedInstruction(
                    f"{'.'.join(self._opcode)} (the address of a tensor or texture)",
                    str(innermost(self._frames) or f"PTX line {tokens.line}"),
                )
        return Address(base, offset)

    def _find_register(self, name: str) -> Register | None:
        scope: _Scope | None = self._scope
        while scope is not None:
            if name in scope.registers:
                return scope.registers[name]
            scope = scope.parent
        return None

    def _symbol(self, name: str) -> Symbol:
        """Return the symbol of that name under the unique name that its scope gave it."""
        scope: _Scope | None = self._scope
        while scope is not None:
            if name in scope.symbols:
                return Symbol(scope.symbols[name])
            scope = scope.parent
        return Symbol(name)

    def _note_jump(self, jump: Instruction) -> None:
        """Keep a branch until all labels are known."""
        label = jump.operands[-1]
        if not isinstance(label, Symbol):
            raise self._tokens.error(f"{jump.text!r} names no label")
        jump.operands = jump.operands[:-1]
        self._jumps.append((jump, label.name, self._scope))

    def _resolve_jumps(self) -> None:
        for jump, name, scope in self._jumps:
            names = [name] if jump.name == "bra" else self._table(jump, name, scope)
            jump.targets = tuple(self._target(jump, each, scope) for each in names)

    def _table(self, jump: Instruction, name: str, scope: _Scope | None) -> list[str]:
        while scope is not None:
            if name in scope.tables:
                return scope.tables[name]
            scope = scope.parent
        raise UnsupportedInstruction(f"{jump.text} (its table of targets is unknown)", jump.where)

    def _target(self, jump: Instruction, name: str, scope: _Scope | None) -> str:
        while scope is not None:
            if name in scope.labels:
                return scope.labels[name]
            scope = scope.parent
        raise self._tokens.error(f"no label {name!r} for {jump.text!r} on line {jump.ptx_line}")


def _negative(value: Immediate) -> Immediate:
    return Immediate(value.value ^ _SIGN[value.type], value.type) if value.type else Immediate(-value.value)


def _call_operands(call: Instruction) -> tuple[Operand, ...]:
    """Return (results, function, arguments), empty lists where the text leaves them out."""
    operands = list(call.operands)
    results = operands.pop(0) if operands and isinstance(operands[0], Vector) else Vector(())
    function = operands.pop(0) if operands else SINK
    arguments = operands.pop(0) if operands else Vector(())
    if not isinstance(function, Symbol) or not isinstance(arguments, Vector) or operands:
        raise UnsupportedInstruction(f"{call.text} (a call through a pointer)", call.where)
    return results, function, arguments
