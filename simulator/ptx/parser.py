"""PTX text to a module: directives of module scope, entries and device functions (PTX ISA 8.0, sections 11.1 to 11.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from simulator.ptx.body import read_body
from simulator.ptx.control_flow import build_blocks
from simulator.ptx.dataflow import set_liveness
from simulator.ptx.declarations import parameters, variables
from simulator.ptx.inlining import Function, inline_calls
from simulator.ptx.lexer import Tokens, integer
from simulator.ptx.model import Kernel, Module

if TYPE_CHECKING:
    from simulator.ptx.lexer import Span
    from simulator.ptx.model import Parameter

__all__ = ["parse"]

T = TypeVar("T")
_FILE = re.compile(r"^\s*\.file\b.*$", re.MULTILINE)


class _WhenAsked(Mapping[str, T], Generic[T]):
    """Values by name, each computed at its first use: most kernels and functions of a module are never used."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], T]] = {}
        self._made: dict[str, T] = {}

    def add(self, name: str, make: Callable[[], T]) -> None:
        """Add a value by the function that computes it."""
        self._makers[name] = make

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def get(self, name: str, default: T | None = None) -> T | None:  # type: ignore[override]  # no overloads
        """Return a value, or `default` where there is none; an error while the value is computed is raised."""
        if name not in self._makers:
            return default
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass
class _Unit:
    """The module under construction with its device functions, which inlining removes."""

    tokens: Tokens
    module: Module = field(default_factory=Module)
    kernels: _WhenAsked[Kernel] = field(default_factory=_WhenAsked)
    functions: _WhenAsked[Function] = field(default_factory=_WhenAsked)


def parse(text: str) -> Module:
    """Read a PTX module; a kernel's body is read at the first use of the kernel.

    It then has device functions inlined, basic blocks ordered, and liveness known.

    Raises
    ------
    CompileError
        The text is not PTX; for a body, raised at the first use of its kernel.
    UnsupportedInstruction
        At its first use, a kernel has features that the simulator's front end refuses: tensor addresses, calls through
        pointers, recursion.
    """
    unit = _Unit(Tokens.around_bodies(text))
    unit.module.kernels = unit.kernels
    _collect_files(unit, text)
    while unit.tokens.kind != "end":
        _statement(unit)
    return unit.module


def _collect_files(unit: _Unit, text: str) -> None:
    """Read the ``.file`` directives first: LLVM writes them behind the code that refers to them."""
    tokens = Tokens("\n".join(_FILE.findall(text)))
    while tokens.kind != "end":
        if tokens.accept(".file"):
            number = integer(tokens.take())
            unit.module.files[number] = tokens.take().strip('"')
        else:
            tokens.take()


def _statement(unit: _Unit) -> None:
    tokens = unit.tokens
    word = tokens.text
    external = False
    while tokens.text in {".visible", ".weak", ".common", ".extern"}:
        external |= tokens.take() == ".extern"
        word = tokens.text
    if word in {".global", ".const", ".shared"}:
        unit.module.variables |= {variable.name: variable for variable in variables(tokens, external=external)}
    elif word == ".entry":
        _entry(unit)
    elif word == ".func":
        _function(unit)
    elif word == ".section":
        tokens.skip_braces()
    elif tokens.kind == "loc":
        tokens.take()
    else:
        _setting(unit, tokens.take())


def _setting(unit: _Unit, word: str) -> None:
    """Read ``.version``, ``.target`` and similar directives."""
    tokens = unit.tokens
    if word == ".version":
        unit.module.version = tokens.take()
    elif word == ".target":
        unit.module.target = tokens.take()
    elif word in {".address_size", ".file"}:
        tokens.take()
        if word == ".file":
            tokens.take()
    elif word in {".pragma", ".alias"}:
        tokens.skip_past(";")
    else:
        raise tokens.error(f"{word!r} has no place between functions")
    while tokens.accept(","):
        tokens.take()


def _entry(unit: _Unit) -> None:
    tokens = unit.tokens
    tokens.expect(".entry")
    name = tokens.take()
    formals = parameters(tokens) if tokens.text == "(" else ()
    directives = {}
    while tokens.kind == "dot":
        directive = tokens.take()[1:]
        values = []
        while tokens.kind in {"int", "string"}:
            values.append(tokens.take())
            tokens.accept(",")
        directives[directive] = tuple(integer(value) for value in values if not value.startswith('"'))
        tokens.accept(";")
    unit.kernels.add(name, partial(_read_kernel, unit, name, formals, directives, tokens.skip_body()))


def _read_kernel(
    unit: _Unit, name: str, formals: tuple[Parameter, ...], directives: dict[str, tuple[int, ...]], body: Span
) -> Kernel:
    kernel = Kernel(name, formals, directives=directives)
    read_body(Tokens(unit.tokens.source, [body]), kernel, unit.module.files)
    inline_calls(kernel, unit.functions)
    build_blocks(kernel)
    set_liveness(kernel)
    return kernel


def _function(unit: _Unit) -> None:
    """Read a device function, or step over the declaration of an external function."""
    tokens = unit.tokens
    tokens.expect(".func")
    _skip_attributes(tokens)
    results: tuple[Parameter, ...] = parameters(tokens) if tokens.text == "(" else ()
    name = tokens.take()
    formals = parameters(tokens) if tokens.text == "(" else ()
    _skip_attributes(tokens)
    if tokens.accept(";"):
        return
    unit.functions.add(name, partial(_read_function, unit, name, formals, results, tokens.skip_body()))


def _read_function(
    unit: _Unit, name: str, formals: tuple[Parameter, ...], results: tuple[Parameter, ...], body: Span
) -> Function:
    function = Kernel(name, formals)
    read_body(Tokens(unit.tokens.source, [body]), function, unit.module.files)
    return Function(function, results)


def _skip_attributes(tokens: Tokens) -> None:
    while tokens.kind == "dot":
        tokens.take()
