"""Where an instruction comes from: ``.loc`` directives and the chain of inlined calls in their comments."""

from __future__ import annotations

import re

from simulator.ptx.model import Location

__all__ = ["OWN_HEADERS", "frames_of", "innermost"]

OWN_HEADERS = frozenset({"clang_builtins.cuh", "clang_math.cuh"})
"""The simulator's own headers: a finding inside them belongs to the line that called."""

_DIRECTIVE = re.compile(r"\.loc\s+(\d+)\s+(\d+)")
_FRAME = re.compile(r"^\s*(?P<path>.+):(?P<line>\d+):\d+[\s\]]*$")


def frames_of(directive: str, files: dict[int, str]) -> tuple[Location, ...]:
    """Return the source lines of a ``.loc`` directive, innermost first.

    LLVM writes the calls through which the code was inlined only into the comment:
    ``.loc 2 14 1  // b.cuh:14:1 @[ a.cu:9:7 @[ a.cu:26:16 ] ]``. Line 0 stands for code of no line and is left out.
    """
    code, _, comment = directive.partition("//")
    chain = [match for part in comment.split("@[") if (match := _FRAME.match(part))]
    if chain:
        frames = [Location(match["path"], int(match["line"])) for match in chain]
    else:
        match = _DIRECTIVE.match(code)
        frames = [Location(files.get(int(match[1]), f"file {match[1]}"), int(match[2]))] if match else []
    return tuple(frame for frame in frames if frame.line)


def innermost(frames: tuple[Location, ...]) -> Location | None:
    """Return the frame to show a kernel's author: the innermost in a .cu file, else the innermost not in our own header."""
    kernels = [frame for frame in frames if frame.path.endswith(".cu")]
    others = [frame for frame in frames if frame.path.rpartition("/")[2] not in OWN_HEADERS]
    return next(iter(kernels or others or frames), None)
