"""Reserve the folder of a run. The folder holds no other run, and no two runs share it.

A run without ``--out`` takes ``out/MODEL``, or the first free folder of ``out/MODEL-2``, ``out/MODEL-3``, ...
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
from registry.paths import ROOT
from trainer.state.log_file import FILE as LOG
from trainer.state.model_file import FILE, saved_in
from trainer.state.resume import held_by_run, resumable, resume_command
from trainer.state.run_file import FILE as SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OUT", "output_folder"]

OUT = ROOT / "out"
ATTEMPTS = 10  # tries to make a folder, since another run may delete its empty parent at the same time


@contextmanager
def output_folder(requested: Path | None, model: str, say: Callable[[str], None], *, resumed: bool = False) -> Iterator[Path]:
    """Yield a folder that only this run uses until the block ends.

    At the end, the function deletes the folders that it made if they are empty.

    Parameters
    ----------
    requested : Path, optional
        The value of ``--out``. The function yields this folder or raises an error.
    model : str
        The model's name, which is the folder's name if `requested` is None.
    say : callable
        Prints a line with the folder, if the folder is not ``out/MODEL``.
    resumed : bool
        Whether the run continues the run that the requested folder holds.

    Raises
    ------
    RequestError
        The requested folder holds another run, belongs to a run in progress, or cannot be written.
    """
    claim = _claim_named(requested, resumed=resumed) if requested else _claim_first_free(OUT / model, say)
    try:
        yield claim.folder
    finally:
        claim.release()


class _TakenError(Exception):
    """The folder belongs to another run.

    Parameters
    ----------
    reason : str
        The predicate of a sentence about the folder, such as "belongs to a run in progress".
    removal : str
        Another way out with its command, such as the command that frees the folder; or "".
    """

    def __init__(self, reason: str, removal: str = "") -> None:
        super().__init__(reason)
        self.removal = removal


@dataclass(frozen=True)
class _Claim:
    """A locked folder. The system releases the lock when this process ends, also after a crash.

    Attributes
    ----------
    own : list of Path
        The folders to delete at the end if they are empty, innermost first: folders that this process made, and ``out/`` with
        its folders.
    descriptor : int
        The open folder, which carries the lock.
    """

    folder: Path
    own: list[Path]
    descriptor: int

    def release(self) -> None:
        """Delete the empty folders, then unlock."""
        with suppress(OSError):  # stops at the first folder that is not empty
            for part in self.own:
                part.rmdir()
        with suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # a forked child may hold a copy of the descriptor
        os.close(self.descriptor)


def _claim_named(folder: Path, *, resumed: bool) -> _Claim:
    try:
        return _claim(folder, named=True, resumed=resumed)
    except _TakenError as error:
        if resumed:
            raise RequestError(f"--out {shlex.quote(str(folder))} {error}{error.removal}") from error
        other = next(path for number in count(2) if not (path := _numbered(folder, number)).exists())
        ways = f"save elsewhere with --out {shlex.quote(str(other))}{error.removal}"
        raise RequestError(f"--out {shlex.quote(str(folder))} {error}; {ways}") from error


def _claim_first_free(default: Path, say: Callable[[str], None]) -> _Claim:
    """Lock `default`, or the first free folder of `default`-2, `default`-3, ..."""
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


def _claim(folder: Path, *, named: bool, resumed: bool = False, attempts: int = ATTEMPTS) -> _Claim:
    """Make and lock `folder`.

    Raises
    ------
    _TakenError
        The folder belongs to another run.
    RequestError
        The folder cannot be written.
    """
    try:
        return _attempt(folder, named=named, resumed=resumed)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and attempts > 1:  # another run has just deleted the parent
            return _claim(folder, named=named, resumed=resumed, attempts=attempts - 1)
        raise RequestError(
            f"--out {shlex.quote(str(folder))} cannot be written: {error.strerror}; give another folder"
        ) from error


def _attempt(folder: Path, *, named: bool, resumed: bool) -> _Claim:
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
        _check(claim, resumed=resumed)
    except BaseException:
        claim.release()
        raise
    return claim


def _check(claim: _Claim, *, resumed: bool) -> None:
    """Raise an error unless the locked folder still exists, holds no other run, and can be written."""
    if not os.path.samestat(os.fstat(claim.descriptor), claim.folder.stat()):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not resumed and resumable(claim.folder):
        raise _TakenError("holds checkpoints of an earlier run", f", or continue that run with: {resume_command(claim.folder)}")
    if not resumed and held_by_run(claim.folder):
        files = [shlex.quote(str(path)) for name in (SETTINGS, LOG) if (path := claim.folder / name).exists()]
        raise _TakenError("holds settings or the log of an earlier run", f", or delete them with: rm {' '.join(files)}")
    if not resumed and (saved := saved_in(claim.folder)):
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
    """Lock a folder or raise `_TakenError`. On a file system without locks, accept the folder only if `certain`."""
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
    """Return the shortest form of a path that works in the current folder, quoted for a shell."""
    here = Path.cwd()
    return shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
