"""The errors that a user can cause. Each message shows the value, the allowed values and the nearest name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ContractError", "CrucibleError", "EvidenceError", "RequestError", "UnknownNameError", "nearest"]

DONE, FAILED, BAD_REQUEST = 0, 1, 2


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest to `name`, or None if no choice is close."""
    matches = difflib.get_close_matches(name, list(map(str, choices)), n=1, cutoff=0.4)
    return matches[0] if matches else None


class CrucibleError(Exception):
    """Base class of the errors. The command line returns `exit_code`."""

    exit_code = FAILED


class RequestError(CrucibleError):
    """The user's request is wrong."""

    exit_code = BAD_REQUEST


class UnknownNameError(RequestError):
    """A name is unknown; the message offers the nearest known name."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        known = sorted(set(choices))
        guess = nearest(name, known)
        hint = f"; did you mean {guess!r}?" if guess else "."
        shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")  # noqa: PLR2004 (one line)
        super().__init__(f"unknown {kind} {name!r}{hint} Known: {shown or 'none'}.".replace("?.", "?"))


class ContractError(CrucibleError):
    """An op, a variant file or a call breaks the contract."""


class EvidenceError(RequestError):
    """A requested variant has no fresh evidence; the message holds the command that makes it."""
