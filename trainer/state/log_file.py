"""``log.jsonl``: one line of JSON for each update and for each validation of a run.

A line of an update is ``{"step": 7, "loss": 9.1, "norm": 1.3, "learning_rate": 2e-4, "seconds": 0.8}``; the loss is the loss
before the update. A line of a validation is ``{"step": 7, "val_loss": 9.0}``.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["FILE", "LogFile", "read_log"]

FILE = "log.jsonl"


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log that hold a step and numbers. A killed process may leave half a line at the end."""
    with suppress(FileNotFoundError), path.open(errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                if line.endswith("\n") and _is_entry(entry := json.loads(line)):
                    yield entry


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and type(entry.get("step")) is int and all(type(n) in {int, float} for n in entry.values())


class LogFile:
    """The log of a run, open for more lines.

    Parameters
    ----------
    path : Path
    say : callable
        Prints a line when a line of the log cannot be written. The run goes on.
    position : int
        Bytes to keep. Later lines, of updates that a resumed run makes again, are deleted.

    Raises
    ------
    CrucibleError
        The file cannot be written.
    """

    def __init__(self, path: Path, say: Callable[[str], None], position: int = 0) -> None:
        self.path, self._say, self._torn = path, say, False
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
            os.ftruncate(self._descriptor, min(position, os.fstat(self._descriptor).st_size))
        except OSError as error:
            raise CrucibleError(f"cannot write {str(path)!r}: {error.strerror}") from error

    @property
    def position(self) -> int:
        """Bytes written so far. A checkpoint stores the number."""
        return os.fstat(self._descriptor).st_size

    def add(self, **entry: float) -> None:
        """Write a line with one call of the system, so that a kill leaves no half line in the middle of the file."""
        line = json.dumps(entry).encode() + b"\n"
        if self._torn:
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            self._say(f"cannot write a line of {str(self.path)!r}: {error.strerror}; the training goes on")
        else:
            self._torn = written < len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
