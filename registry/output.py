"""Run a command and print its output: tables for a reader, or with ``--json`` one document. Errors get a line and an exit code.

With ``--json``, standard output holds the document and nothing else, also if the command fails. The files of
`registry/documents/` declare the fields of each document.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import json
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from registry.commands import pasted
from registry.errors import DONE, FAILED, INTERNAL, INTERRUPTED, CrucibleError, ErrorKind, TerminatedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from registry.command_parser import CommandParser
    from registry.documents.basic import ErrorFields

__all__ = ["SCHEMA", "Failure", "Output", "execute", "guarded", "print_output"]

Result = TypeVar("Result")

SCHEMA = 1  # of the documents; a field that is removed, renamed or changes its meaning makes it 2
OURS = re.compile(r"python -m [^&|]+")  # one command of the project
SAME_SECONDS = 2.0  # a second Ctrl-C within this time is ignored


def _show_nothing() -> None:
    """Print nothing."""


@dataclass(frozen=True)
class Output:
    """The output of a command.

    Attributes
    ----------
    document : mapping, optional
        The fields of the document that ``--json`` prints. None if another process of the same run prints it.
    show : callable
        Prints the output for a reader. It is not called with ``--json``.
    code : int
        The exit code.
    """

    document: Mapping[str, Any] | None
    show: Callable[[], None] = _show_nothing
    code: int = DONE


@dataclass(frozen=True)
class Failure:
    """The error that ended a command."""

    kind: ErrorKind
    message: str
    code: int
    nearest: tuple[str, ...] = ()
    command: str | None = None

    @classmethod
    def of(cls, error: BaseException, module: str, words: Sequence[str]) -> Failure:
        """Return the failure of an exception. `module` and `words` are the command that raised it."""
        if isinstance(error, TerminatedError):
            return cls(ErrorKind.INTERRUPTED, str(error), error.exit_code)
        if isinstance(error, KeyboardInterrupt):
            return cls(ErrorKind.INTERRUPTED, "interrupted; nothing more was written", INTERRUPTED)
        if isinstance(error, CrucibleError):
            again = list(words) if error.error_kind is ErrorKind.BUSY else error.corrected(words)
            command = pasted(module, *again) if module and again and not error.command else error.command
            return cls(error.error_kind, str(error), error.exit_code, error.nearest, command)
        if isinstance(error, MemoryError):
            return cls(ErrorKind.FAILED, f"not enough memory: {error or 'an allocation failed'}", FAILED)
        return cls(ErrorKind.INTERNAL, f"{type(error).__name__}: {error}", INTERNAL)

    def __str__(self) -> str:
        if self.kind is ErrorKind.INTERRUPTED:
            return self.message
        if self.kind is ErrorKind.INTERNAL:
            return f"error: a bug of Crucible, with the traceback above: {self.message}"
        new = self.command and self.command not in self.message and self.kind is not ErrorKind.BUSY
        return f"error: {self.message}" + (f" Try: {self.command}" if new else "")

    def fields(self) -> ErrorFields:
        """Return the failure as a part of a document. Its command prints a document too."""
        command = self.command
        if command and OURS.fullmatch(command) and not {"--json", "--help"} & set(command.split()):
            command += " --json"
        return {"kind": self.kind.value, "message": self.message, "nearest": list(self.nearest), "command": command}


@cache
def _leave_garbage() -> None:
    """Skip the garbage collection at the end of the process: it takes longer than the rest of the exit."""
    atexit.register(gc.freeze)


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` once: further ones within `SAME_SECONDS` must not interrupt the clean-up."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return

    last = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        del number, frame
        before, last = last, time.monotonic()
        if last - before > SAME_SECONDS:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _attempt(body: Callable[[], Result], module: str = "", words: Sequence[str] = ()) -> Result | Failure:
    """Return the result of `body`, or the failure that ended it, after printing the failure to standard error."""
    _leave_garbage()
    try:
        with _interrupted_once():
            return body()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (each error of a command ends with a line and an exit code)
        failure = Failure.of(error, module, words)
        if failure.kind is ErrorKind.INTERNAL:
            traceback.print_exc()
        print(failure, file=sys.stderr)  # noqa: T201 (the output of the command)
        return failure


def guarded(body: Callable[[], int]) -> int:
    """Run the `body` of a process without a document; return its exit code. An error becomes a line on standard error."""
    code = _attempt(body)
    return code.code if isinstance(code, Failure) else code


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send to standard error what this process, its libraries and its child processes print to standard output."""
    try:
        is_own = sys.stdout.fileno() == 1
    except (OSError, ValueError):
        is_own = False  # a test has replaced the stream
    with contextlib.ExitStack() as stack:
        if is_own:
            sys.stdout.flush()
            saved = os.dup(1)
            os.dup2(2, 1)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, 1)
            stack.callback(ctypes.CDLL(None).fflush, None)  # text that C code has printed and its library still holds
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def execute(parser: CommandParser, body: Callable[[argparse.Namespace], Output], argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run `body` with the options, and print its output; return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words of the command line. Default: those of this process.
    """
    return print_output(parser.module, lambda: body(parser.parse_args(argv)), argv)


def print_output(module: str, body: Callable[[], Output], argv: Sequence[str] | None = None) -> int:
    """Run `body`, which parses the command line itself, and print its output; return the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not any(len(word) > len("--") and "--json".startswith(word) for word in words):  # argparse takes shortened names

        def show() -> int:
            output = body()
            output.show()
            return output.code

        shown = _attempt(show, module, words)
        return shown.code if isinstance(shown, Failure) else shown

    def serialise() -> tuple[str, int]:
        output = body()
        return "" if output.document is None else _text(module, output.code, output.document), output.code

    with _stdout_to_stderr():
        done = _attempt(serialise, module, words)
    text, code = (_text(module, done.code, {"error": done.fields()}), done.code) if isinstance(done, Failure) else done
    if text:
        print(text)  # noqa: T201 (the output of the command)
    return code


def _text(module: str, code: int, fields: Mapping[str, Any]) -> str:
    """Return a document as text. Infinite numbers and NaN, which JSON lacks, are an error of the program."""
    head = {"schema": SCHEMA, "command": module, "exit_code": code}
    return json.dumps({**head, **fields, **head}, allow_nan=False)  # first, and not replaced by the schema of a record
