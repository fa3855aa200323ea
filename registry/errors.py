"""The errors a user can meet: each message shows the value, what was allowed and the nearest name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ContractError", "CrucibleError", "EvidenceError", "RequestError", "UnknownNameError", "nearest"]

DONE, FAILED, BAD_REQUEST = 0, 1, 2


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest to `name`, or None where nothing is close."""
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.4)
    return found[0] if found else None


class CrucibleError(Exception):
    """Something that was asked for failed; `exit_code` is what the command line returns."""

    exit_code = FAILED


class RequestError(CrucibleError):
    """The request itself was wrong."""

    exit_code = BAD_REQUEST


class UnknownNameError(RequestError):
    """A name that stands for nothing, with the nearest one that does."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        known = sorted(set(choices))
        guess = nearest(name, known)
        hint = f"; did you mean {guess!r}?" if guess else "."
        shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")  # noqa: PLR2004 (one line)
        super().__init__(f"unknown {kind} {name!r}{hint} Known: {shown or 'none'}.".replace("?.", "?"))
        self.nearest = guess


class ContractError(CrucibleError):
    """An op, a variant file or a call that breaks the contract."""


class EvidenceError(RequestError):
    """A variant was asked for that has no fresh evidence; the message says how to make it."""
