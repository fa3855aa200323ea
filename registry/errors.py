"""The errors that a user can cause. Each message shows the value, the allowed values and the nearest name."""

from __future__ import annotations

import difflib
import re
from enum import StrEnum
from signal import Signals
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ERROR_KINDS",
    "EXIT_CODES",
    "ContractError",
    "CrucibleError",
    "ErrorKind",
    "EvidenceError",
    "RequestError",
    "TerminatedError",
    "UnknownNameError",
    "nearest",
    "signal_code",
]

DONE, FAILED, BAD_REQUEST, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODES = {
    DONE: "the command did its work, and every check passed",
    FAILED: "a check failed: a wrong variant, a refused race, missing records, a page that is not up to date",
    BAD_REQUEST: "the request is wrong, or a variant that it names has no fresh evidence; nothing was done",
    INTERNAL: "a bug of Crucible; the traceback is on standard error",
    INTERRUPTED: "interrupted by Ctrl-C",
}

COMMAND = re.compile(r": ((?:python -m|pytest|make) .+)$")  # a command ends the message of an error
MOST_NEAREST = 3
CLOSE, SURE = 0.4, 0.6  # similarity of a name that is mentioned, and of one that is put into a corrected command


class ErrorKind(StrEnum):
    """The kinds of errors in the documents of ``--json``."""

    REQUEST = "request"
    EVIDENCE = "evidence"
    FAILED = "failed"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


ERROR_KINDS = {
    ErrorKind.REQUEST: (BAD_REQUEST, "an option, a name or a file of the request is wrong"),
    ErrorKind.EVIDENCE: (BAD_REQUEST, "a variant has no fresh proof; `command` makes it"),
    ErrorKind.FAILED: (FAILED, "the command could not finish, or its check failed"),
    ErrorKind.BUSY: (FAILED, "the machine is too busy for a race; `command` is the same command, for later"),
    ErrorKind.INTERRUPTED: (INTERRUPTED, "Ctrl-C; finished records are kept"),
    ErrorKind.INTERNAL: (INTERNAL, "a bug of Crucible"),
}


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP ends the command. Code that cleans up after Ctrl-C also cleans up after this error."""

    def __init__(self, number: int) -> None:
        self.exit_code = signal_code(number)
        super().__init__(f"ended by {Signals(number).name}; nothing more was written")


def signal_code(number: int) -> int:
    """Return the exit code of a command that a signal ended, by the convention of shells."""
    return 128 + number


def _close(name: str, choices: Iterable[str]) -> tuple[str, ...]:
    """Return the choices that are close to `name`, the closest first."""
    return tuple(difflib.get_close_matches(name, list(map(str, choices)), n=MOST_NEAREST, cutoff=CLOSE))


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest to `name`, or None if no choice is close."""
    return next(iter(_close(name, choices)), None)


class CrucibleError(Exception):
    """Base class of the errors. The command line returns `exit_code`.

    Attributes
    ----------
    nearest : tuple of str
        The known names closest to an unknown name, the closest first.
    """

    exit_code = FAILED
    error_kind = ErrorKind.FAILED
    nearest: tuple[str, ...] = ()

    @property
    def command(self) -> str | None:
        """The command to paste, which ends the message; None if the message names none."""
        found = COMMAND.search(str(self))
        return found[1] if found else None

    def corrected(self, words: Sequence[str]) -> list[str] | None:
        """Return the words of the user's command with the wrong name corrected; None if no correction is known."""
        del words
        return None


class RequestError(CrucibleError):
    """The user's request is wrong."""

    exit_code = BAD_REQUEST
    error_kind = ErrorKind.REQUEST


class UnknownNameError(RequestError):
    """A name is unknown; the message offers the nearest known name."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        known = sorted(set(choices))
        self.name, self.nearest = name, _close(name, known)
        guess = next(iter(self.nearest), None)
        hint = f"; did you mean {guess!r}?" if guess else "."
        shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")  # noqa: PLR2004 (one line)
        super().__init__(f"unknown {kind} {name!r}{hint} Known: {shown or 'none'}.".replace("?.", "?"))

    def corrected(self, words: Sequence[str]) -> list[str] | None:
        """Return `words` with the nearest name in place of the unknown one, if exactly one word contains it."""
        if not difflib.get_close_matches(self.name, self.nearest[:1], cutoff=SURE):
            return None
        wrong = re.compile(rf"(?<![\w-]){re.escape(self.name)}(?![\w-])")
        if sum(bool(wrong.search(word)) for word in words) != 1:
            return None
        return [wrong.sub(lambda _: self.nearest[0], word) for word in words]


class ContractError(CrucibleError):
    """An op, a variant file or a call breaks the contract."""


class EvidenceError(RequestError):
    """A requested variant has no fresh evidence; the message holds the command that makes it."""

    error_kind = ErrorKind.EVIDENCE
