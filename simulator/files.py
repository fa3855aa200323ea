"""Files of a cache that several processes share: seen either whole or not at all, and the least recently used go first."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["read_and_mark", "read_sealed", "tidy", "write_atomically", "write_sealed"]

_DAY = 24 * 60 * 60  # seconds
_ROOM = 1 << 29  # bytes
_SEAL = hashlib.sha256().digest_size


def read_and_mark(path: Path) -> bytes:
    """Return what a file holds, and count it as used now.

    Raises
    ------
    OSError
        It is not there.
    """
    content = path.read_bytes()
    with suppress(OSError):  # somebody else's, or on its way out
        os.utime(path)
    return content


def tidy(folder: Path, *, room: int = _ROOM) -> None:
    """Once a day, remove what was used longest ago from the folders in `folder`, until the rest takes `room` bytes at most."""
    mark = folder / "tidied"
    with suppress(OSError):
        if time.time() - mark.stat().st_mtime < _DAY:
            return
    with suppress(OSError):  # a cache that cannot be changed is no reason to stop
        mark.touch()
        found = []
        for path in folder.glob("*/**/*"):
            with suppress(OSError):
                if path.is_file():
                    found.append((path.stat().st_mtime, path.stat().st_size, path))
        for _, size, path in sorted(found, reverse=True):
            room -= size
            if room < 0:
                path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, and the folder that it stands in if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_sealed(path: Path, content: bytes) -> None:
    """Write a file whose damage would not show when it is used, such as machine code, behind a digest of it."""
    write_atomically(path, hashlib.sha256(content).digest() + content)


def read_sealed(path: Path) -> bytes | None:
    """Return what `write_sealed` was given, and count it as used now; None if it is not there, or not what it was."""
    try:
        kept = read_and_mark(path)
    except OSError:
        return None
    seal, content = kept[:_SEAL], kept[_SEAL:]
    return content if hashlib.sha256(content).digest() == seal else None
