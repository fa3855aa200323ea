"""Declarations: parameters, variables and their initial values (PTX ISA 8.0, sections 5.1 to 5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.ptx.lexer import integer, literal
from simulator.ptx.model import BITS, Parameter, Symbol, Variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.ptx.lexer import Tokens

__all__ = ["parameters", "variables"]

_POINTER_BYTES = 8


def parameters(tokens: Tokens) -> tuple[Parameter, ...]:
    """Read a parenthesised list of ``.param`` declarations and give each its offset."""
    tokens.expect("(")
    declared: list[Parameter] = []
    end = 0
    while not tokens.accept(")"):
        tokens.expect(".param")
        align, type_ = _attributes(tokens)
        name = tokens.take()
        count = _dimensions(tokens)
        width = BITS[type_] // 8
        align = align or width
        offset = -(-end // align) * align
        size = width * (1 if count is None else count)
        declared.append(Parameter(name, type_, size, align, offset, count or 0))
        end = offset + size
        tokens.accept(",")
    return tuple(declared)


def variables(tokens: Tokens, *, external: bool = False) -> Iterator[Variable]:
    """Read ``.space .align n .type name[size] = value, ...;``."""
    space = tokens.take()[1:]
    align, type_ = _attributes(tokens)
    width = max(1, BITS[type_] // 8)
    while True:
        name = tokens.take()
        count = _dimensions(tokens)
        size = width * (1 if count is None else count)
        initial: bytes | None = None
        relocations: tuple[tuple[int, Symbol], ...] = ()
        if tokens.accept("="):
            initial, relocations = _initial_value(tokens, width)
            if count == 0:
                size = len(initial)
            initial = initial.ljust(size, b"\0")
        yield Variable(name, space, align or width, size, initial, relocations, external)
        if not tokens.accept(","):
            break
    tokens.expect(";")


def _attributes(tokens: Tokens) -> tuple[int, str]:
    """Read the alignment and the type, and step over the rest: ``.ptr .global .align 16`` describes the pointee."""
    align, type_, of_pointee = 0, "", False
    while tokens.kind == "dot":
        word = tokens.take()[1:]
        if word == "align":
            value = integer(tokens.take())
            align = align if of_pointee else value
        elif word in BITS:
            type_ = word
        elif word == "attribute":
            tokens.skip_past(")")
        of_pointee = of_pointee or word == "ptr"
    if not type_:
        raise tokens.error("a declaration without a type")
    return align, type_


def _dimensions(tokens: Tokens) -> int | None:
    """Return the number of elements of ``[a][b]``: None for a scalar, 0 for ``[]``."""
    count = None
    while tokens.accept("["):
        size = 0 if tokens.text == "]" else integer(tokens.take())
        count = size if count is None else count * size
        tokens.expect("]")
    return count


def _initial_value(tokens: Tokens, width: int) -> tuple[bytes, tuple[tuple[int, Symbol], ...]]:
    """Read a scalar or a (nested) list in braces; return its bytes and the addresses within."""
    image = bytearray()
    relocations: dict[int, Symbol] = {}
    depth = 0
    while True:
        if tokens.accept("{"):
            depth += 1
            continue
        if tokens.accept("}"):
            depth -= 1
        elif not tokens.accept(","):
            value, symbol = _constant(tokens)
            if symbol is not None and len(image) % _POINTER_BYTES == 0:
                relocations[len(image)] = symbol
            image += (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        if depth == 0:
            return bytes(image), tuple(relocations.items())


def _constant(tokens: Tokens) -> tuple[int, Symbol | None]:
    """Read one constant of an initial value; an address reads as zero with its symbol.

    A byte array holds an address as ``0xFF(x), 0xFF00(x), ...``, one byte each.
    """
    if tokens.kind == "int" and tokens.ahead().text == "(":
        tokens.take()
        tokens.expect("(")
        _, symbol = _constant(tokens)
        tokens.expect(")")
        return 0, symbol
    if tokens.accept("generic"):
        tokens.expect("(")
        _, symbol = _constant(tokens)
        tokens.expect(")")
        return 0, _plus_offset(tokens, symbol)
    if tokens.kind == "name":
        return 0, _plus_offset(tokens, Symbol(tokens.take()))
    sign = -1 if tokens.accept("-") else 1
    kind = tokens.kind
    if kind not in {"int", "float"}:
        raise tokens.error(f"expected a constant, found {tokens.text!r}")
    return sign * literal(kind, tokens.take()).value, None


def _plus_offset(tokens: Tokens, symbol: Symbol | None) -> Symbol | None:
    if symbol is None or tokens.text not in {"+", "-"}:
        return symbol
    sign = 1 if tokens.take() == "+" else -1
    return Symbol(symbol.name, symbol.offset + sign * integer(tokens.take()))
