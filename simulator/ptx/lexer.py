"""PTX text to tokens, and tokens to literals (PTX ISA 8.0, sections 4.1 to 4.5)."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from typing import NamedTuple

from simulator.errors import CompileError
from simulator.ptx.model import Immediate

__all__ = ["Token", "Tokens", "integer", "literal"]

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
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A word of the text; `kind` is the name of the group that matched it, `position` its place in the text."""

    kind: str
    text: str
    position: int


class Tokens:
    """A cursor over the tokens of a PTX text."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._tokens = [
            Token(kind, match[kind], match.start(kind))
            for match in _TOKEN.finditer(source)
            if (kind := match.lastgroup or "end") != "comment"
        ]
        self._at = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", source))]

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
        """Return where the next token begins."""
        return self._tokens[self._at].position

    @property
    def line(self) -> int:
        """Return the line of the next token, counted from 1."""
        return bisect_right(self._line_starts, self.position)

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
        """Step behind the next token that reads `text`."""
        while self.take() != text:
            pass

    def skip_braces(self) -> None:
        """Step behind the brace that closes the next one opened."""
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
