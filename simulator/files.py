"""Files of a cache that several processes share: a write is atomic, and the least recently used files are deleted first."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["read_and_mark", "read_sealed", "tidy", "write_atomically", "write_sealed"]

_DAY = 24 * 60 * 60  # seconds
_LIMIT = 1 << 29  # bytes
_SEAL = hashlib.sha256().digest_size


def read_and_mark(path: Path) -> bytes:
    """Return the contents of a file, and mark it as used now.

    Raises
    ------
    OSError
        It is not there.
    """
    content = path.read_bytes()
    with suppress(OSError):  # another user's file, or a file that another process deletes
        os.utime(path)
    return content


def tidy(folder: Path, *, limit: int = _LIMIT) -> None:
    """Once a day, delete the least recently used files below `folder`, until the rest takes at most `limit` bytes."""
    mark = folder / "tidied"
    with suppress(OSError):
        if time.time() - mark.stat().st_mtime < _DAY:
            return
    with suppress(OSError):  # a cache that cannot be changed is no reason to stop
        mark.touch()
        entries = []
        for path in folder.glob("*/**/*"):
            with suppress(OSError):
                if path.is_file():
                    entries.append((path.stat().st_mtime, path.stat().st_size, path))
        for _, size, path in sorted(entries, reverse=True):
            limit -= size
            if limit < 0:
                path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, and create its folder if needed."""
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
    """Write a digest and the contents of a file, such as machine code, whose damage a reader could not detect otherwise."""
    write_atomically(path, hashlib.sha256(content).digest() + content)


def read_sealed(path: Path) -> bytes | None:
    """Return the contents that `write_sealed` wrote, and mark the file as used now; None if it is missing or damaged."""
    try:
        sealed = read_and_mark(path)
    except OSError:
        return None
    seal, content = sealed[:_SEAL], sealed[_SEAL:]
    return content if hashlib.sha256(content).digest() == seal else None
