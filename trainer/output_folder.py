"""The folder that a run saves its model in: it holds no other run's model, and no two runs share it.

A run that was not told where to save takes ``out/MODEL``, or the first of ``out/MODEL-2``, ``out/MODEL-3``, ... that is free.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import RequestError
from registry.table import ROOT
from trainer.checkpoint import FILE, saved_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OUT", "output_folder"]

OUT = ROOT / "out"
ATTEMPTS = 10  # to make a folder while another run deletes its empty parent


@contextmanager
def output_folder(asked: Path | None, model: str, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield a folder that belongs to this run alone until the block ends.

    What this function made is deleted again if the block leaves it empty.

    Parameters
    ----------
    asked : Path, optional
        The value of ``--out``: this folder or none.
    model : str
        The model's name, after which the folder is named where none was asked for.
    say : callable
        Told in one line where the run saves, if that is not ``out/MODEL``.

    Raises
    ------
    RequestError
        The folder that was asked for holds a model, belongs to a run in progress, or cannot be written.
    """
    claim = _claim_named(asked) if asked else _claim_first_free(OUT / model, say)
    try:
        yield claim.folder
    finally:
        claim.release()


class _TakenError(Exception):
    """The folder belongs to another run.

    Parameters
    ----------
    reason : str
        What follows the folder's name in a sentence.
    removal : str
        What the user can do about it, if anything.
    """

    def __init__(self, reason: str, removal: str = "") -> None:
        super().__init__(reason)
        self.removal = removal


@dataclass(frozen=True)
class _Claim:
    """A folder with a lock on it, which the system drops when this process ends, however it ends.

    Attributes
    ----------
    own : list of Path
        What is deleted at the end if it is empty, innermost first: what this process made, and ``out/`` with its folders.
    descriptor : int
        The open folder that carries the lock.
    """

    folder: Path
    own: list[Path]
    descriptor: int

    def release(self) -> None:
        """Delete what is empty, then unlock."""
        with suppress(OSError):  # the first that is not empty ends it
            for part in self.own:
                part.rmdir()
        with suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # a forked child may hold a copy of the descriptor
        os.close(self.descriptor)


def _claim_named(folder: Path) -> _Claim:
    try:
        return _claim(folder, named=True)
    except _TakenError as error:
        other = next(path for number in count(2) if not (path := _numbered(folder, number)).exists())
        ways = f"save elsewhere with --out {shlex.quote(str(other))}{error.removal}"
        raise RequestError(f"--out {shlex.quote(str(folder))} {error}; {ways}") from error


def _claim_first_free(default: Path, say: Callable[[str], None]) -> _Claim:
    """Claim `default`, or the first of `default` with -2, -3, ... that is free."""
    refusal = ""
    for number in count(1):
        folder = default if number == 1 else _numbered(default, number)
        try:
            claim = _claim(folder, named=False)
        except _TakenError as error:
            refusal = refusal or f"{_shown(folder)} {error}"
            continue
        if refusal:
            say(f"{refusal}; this run saves in {_shown(folder)}")
        return claim
    raise AssertionError("numbers do not end")


def _claim(folder: Path, *, named: bool, attempts: int = ATTEMPTS) -> _Claim:
    """Make and lock `folder`.

    Raises
    ------
    _TakenError
        It belongs to another run.
    RequestError
        It cannot be written.
    """
    try:
        return _attempt(folder, named=named)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and attempts > 1:  # another run has just deleted what it had made
            return _claim(folder, named=named, attempts=attempts - 1)
        raise RequestError(
            f"--out {shlex.quote(str(folder))} cannot be written: {error.strerror}; give another folder"
        ) from error


def _attempt(folder: Path, *, named: bool) -> _Claim:
    _refuse_obstacles(folder)
    absent = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        absent = []
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, certain=bool(absent) or named)
    except BaseException:
        os.close(descriptor)
        raise
    claim = _Claim(folder, absent if named else [folder, folder.parent], descriptor)
    try:
        _check(claim)
    except BaseException:
        claim.release()
        raise
    return claim


def _check(claim: _Claim) -> None:
    """Raise an error unless the locked folder is still there, empty of models, and can be written."""
    if not os.path.samestat(os.fstat(claim.descriptor), claim.folder.stat()):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if saved := saved_in(claim.folder):
        raise _TakenError(f"holds {saved[0].name} of an earlier run", _removal(claim.folder, saved))
    with tempfile.NamedTemporaryFile(dir=claim.folder, prefix=".probe-") as probe:
        probe.write(b"?")


def _refuse_obstacles(folder: Path) -> None:
    named = f"--out {shlex.quote(str(folder))}"
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise RequestError(f"{named}: {str(part)!r} is a file, not a folder; give another folder")
    if (folder / FILE).is_dir():
        raise RequestError(f"{named}: {str(folder / FILE)!r} is a folder where the model would be saved; give another folder")


def _lock(descriptor: int, *, certain: bool) -> None:
    """Lock a folder, or refuse it; where the file system has no locks, take it if `certain`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _TakenError("belongs to a run in progress") from None
    except OSError:
        if not certain:
            raise _TakenError("may belong to a run in progress") from None


def _removal(folder: Path, saved: list[Path]) -> str:
    every = f"{shlex.quote(str(folder))}/*{saved[0].suffix}"
    return f", or delete it with: rm {shlex.quote(str(saved[0])) if len(saved) == 1 else every}"


def _numbered(folder: Path, number: int) -> Path:
    base = folder if folder.name not in {"", ".."} else folder.resolve()
    return Path(f"{base}-{number}")


def _shown(folder: Path) -> str:
    """Return a path as short as it can be typed here."""
    here = Path.cwd()
    return shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
