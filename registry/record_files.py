"""Files of records on disk: append-only JSON lines, and JSON documents that are replaced as a whole."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = [
    "DERIVED_AGAIN",
    "Stamp",
    "append_lines",
    "digest",
    "read_document",
    "read_lines",
    "replace_lines",
    "stamp",
    "write_document",
]

Stamp = tuple[int, int, int] | None
DERIVED_AGAIN = "delete it and run: python -m harness.leaderboard"


def stamp(path: Path) -> Stamp:
    """Return a value that changes when the file is written; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def digest(paths: Iterable[Path]) -> str:
    """Return a hash of the contents of several files; a missing file counts as an empty one."""
    combined = hashlib.sha256()
    for path in paths:
        content = path.read_bytes() if path.exists() else b""
        combined.update(f"{path.name}:{len(content)}\n".encode() + content)
    return combined.hexdigest()[:16]


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place (``FILE:NUMBER``) and the content of each line; nothing if there is no file.

    Raises
    ------
    CrucibleError
        A line is not JSON; the message names the line.
    """
    if not path.exists():
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise CrucibleError(f"{path}:{number} is not UTF-8 text ({error.reason}); mend or delete that line") from error
    except OSError as error:
        raise CrucibleError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            yield place, json.loads(line)
        except json.JSONDecodeError as error:
            raise CrucibleError(f"{place} is not a JSON line ({error.msg}); mend or delete that line") from error


def append_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Append one JSON line per record.

    Raises
    ------
    CrucibleError
        The file cannot be written.
    """
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text)
    except OSError as error:
        raise CrucibleError(f"cannot write {path}: {error.strerror}") from error


def replace_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Replace a file of JSON lines, whole or not at all.

    Raises
    ------
    CrucibleError
        The file cannot be written.
    """
    try:
        draft = path.with_suffix(".tmp")
        draft.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
        draft.replace(path)
    except OSError as error:
        raise CrucibleError(f"cannot write {path}: {error.strerror}") from error


def read_document(path: Path) -> Any:  # noqa: ANN401 (any JSON)
    """Return the content of a JSON file; None if there is no file.

    Raises
    ------
    CrucibleError
        The file is not JSON, or it cannot be read.
    """
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise CrucibleError(f"{path} is not JSON ({error}); {DERIVED_AGAIN}") from error
    except OSError as error:
        raise CrucibleError(f"cannot read {path}: {error.strerror}") from error


def write_document(path: Path, content: object) -> None:
    """Replace a JSON file in one step: an error leaves the old file.

    Raises
    ------
    CrucibleError
        The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        draft.replace(path)
    except OSError as error:
        raise CrucibleError(f"cannot write {path}: {error.strerror}") from error
