"""PTX text to tokens, and tokens to literals (PTX ISA 8.0, sections 4.1 to 4.5)."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import CompileError
from simulator.ptx.model import Immediate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Span", "Token", "Tokens", "integer", "literal"]

_HOW = re.VERBOSE | re.DOTALL
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<comment> //[^\n]* | /\*.*?\*/ )
    | (?P<loc>     \.loc[ \t][^\n]* )
    | (?P<string>  "(?:[^"\\]|\\.)*" )
    | (?P<float>   0[fF][0-9a-fA-F]{8}\b | 0[dD][0-9a-fA-F]{16}\b | \d+\.\d*(?:[eE][-+]?\d+)? | \d+[eE][-+]?\d+ )
    | (?P<int>     0[xX][0-9a-fA-F]+U? | 0[bB][01]+U? | \d+U? )
    | (?P<name>    [%$A-Za-z_][\w$%]*(?:\.[xyzw]\b)? )
    | (?P<dot>     \.\w+(?:::\w+)* )
    | (?P<mark>    \S )
    | (?P<end>     \Z )
    )""",
    _HOW,
)


_LINE_END = re.compile("\n")
_QUOTED = r'//[^\n]* | /\*.*?\*/ | "(?:[^"\\]|\\.)*"'
_OUTSIDE = re.compile(rf"{_QUOTED} | (?P<entry>\.entry\b) | (?P<func>\.func\b) | (?P<end>;) | (?P<open>\{{)", _HOW)
_INSIDE = re.compile(rf"{_QUOTED} | (?P<open>\{{) | (?P<close>\}})", _HOW)

Span = tuple[int, int]


class Token(NamedTuple):
    """A word of the text; `kind` is the name of the group that matched it, `position` its place in the text."""

    kind: str
    text: str
    position: int


def _closing(source: str, start: int) -> int:
    """Return the position after the brace that closes the brace that ends at `start`."""
    depth = 1
    for match in _INSIDE.finditer(source, start):
        depth += {"open": 1, "close": -1}.get(match.lastgroup or "", 0)
        if not depth:
            return match.end()
    line = 1 + source.count("\n", 0, start)
    raise CompileError(f"PTX line {line}: the brace is never closed")


def _bodies(source: str) -> Iterator[Span]:
    """Yield the start and the end of the braces of each function."""
    at, header = 0, ""
    while match := _OUTSIDE.search(source, at):
        at, kind = match.end(), match.lastgroup
        if kind == "open":
            at = _closing(source, at)
            if header:
                yield match.start(), at
        if kind in {"entry", "func"}:
            header = kind
        elif kind == "open" or (kind == "end" and header == "func"):  # a declaration of an external function
            header = ""


class Tokens:
    """A cursor over the tokens of a PTX text, or of the parts of the text that `spans` names."""

    def __init__(self, source: str, spans: Sequence[Span] = ()) -> None:
        spans = spans or [(0, len(source))]
        self.source = source
        self._tokens = [
            Token(kind, match[kind], match.start(kind))
            for start, end in spans
            for match in _TOKEN.finditer(source, start, end)
            if (kind := match.lastgroup or "end") not in {"comment", "end"}
        ]
        self._tokens.append(Token("end", "", spans[-1][1]))
        self._at = 0
        self._first_line = 1 + source.count("\n", 0, spans[0][0])
        self._line_starts = [match.end() for match in _LINE_END.finditer(source, spans[0][0], spans[-1][1])]
        self._bodies: dict[int, int] = {}

    @classmethod
    def around_bodies(cls, source: str) -> Tokens:
        """Return the tokens of a module without the bodies of its functions."""
        bodies = dict(_bodies(source))
        ends = [0, *(end - 1 for end in bodies.values())]
        tokens = cls(source, list(zip(ends, [*(start + 1 for start in bodies), len(source)], strict=True)))
        tokens._bodies = bodies
        return tokens

    def skip_body(self) -> Span:
        """Step over the body of a function; return its start and end, braces included."""
        start = self.position
        if start not in self._bodies:
            raise self.error(f"expected the body of a function, found {self.text!r}")
        self.expect("{")
        self.expect("}")
        return start, self._bodies[start]

    @property
    def kind(self) -> str:
        """Return the kind of the next token."""
        return self._tokens[self._at].kind

    @property
    def text(self) -> str:
        """Return the text of the next token, ``""`` at the end."""
        return self._tokens[self._at].text

    @property
    def position(self) -> int:
        """Return the position of the next token."""
        return self._tokens[self._at].position

    @property
    def line(self) -> int:
        """Return the line of the next token, counted from 1."""
        return self._first_line + bisect_right(self._line_starts, self.position)

    def ahead(self, count: int = 1) -> Token:
        """Return the token `count` after the next."""
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def take(self) -> str:
        """Return the next token's text and step over it."""
        token = self._tokens[self._at]
        if token.kind == "end":
            raise self.error("unexpected end of the text")
        self._at += 1
        return token.text

    def accept(self, text: str) -> bool:
        """Step over the next token if it reads `text`; return whether it did."""
        if self._tokens[self._at].text != text:
            return False
        self._at += 1
        return True

    def expect(self, text: str) -> None:
        """Step over the next token, which must read `text`."""
        if not self.accept(text):
            raise self.error(f"expected {text!r}, found {self.text!r}")

    def skip_past(self, text: str) -> None:
        """Step past the next token that reads `text`."""
        while self.take() != text:
            pass

    def skip_braces(self) -> None:
        """Step past the brace that closes the next opening brace."""
        self.skip_past("{")
        depth = 1
        while depth:
            depth += {"{": 1, "}": -1}.get(self.take(), 0)

    def error(self, message: str) -> CompileError:
        """Return an error that names the line of the next token."""
        return CompileError(f"PTX line {self.line}: {message}")


def integer(text: str) -> int:
    """Return the value of an integer literal: hexadecimal, binary, octal or decimal, with or without a final U."""
    digits = text.rstrip("U")
    if digits[:2] in {"0x", "0X", "0b", "0B"}:
        return int(digits, 0)
    return int(digits, 8 if digits[0] == "0" else 10)


def literal(kind: str, text: str) -> Immediate:
    """Return the immediate a numeric token stands for; a decimal fraction is a double, as in PTX."""
    if kind == "int":
        return Immediate(integer(text))
    if text[1:2] in {"f", "F", "d", "D"}:
        return Immediate(int.from_bytes(bytes.fromhex(text[2:])), "f32" if text[1] in "fF" else "f64")
    return Immediate(struct.unpack("<Q", struct.pack("<d", float(text)))[0], "f64")
