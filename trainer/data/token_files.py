"""Atomic file writes, and llm.c's token files.

A token file is a header of 256 little-endian int32 (magic 20240520, version 1, count, zeros) and uint16 token ids.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import CrucibleError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_tokens", "write_atomically", "write_tokens"]

MAGIC, VERSION = 20240520, 1
LLAMA3_MAGIC = 20240801
HEADER = 256
HEADER_BYTES = 4 * HEADER
MOST_TOKENS = 2**31 - 1


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path`, which replaces `path` if the block succeeds and is deleted if it raises.

    Raises
    ------
    CrucibleError
        The folder or the file cannot be written. An older file at `path` stays unchanged.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        mode = draft.stat().st_mode
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.chmod(mode)  # a library may have replaced the draft by a file that only its owner can read
        draft.replace(path)
    except OSError as error:
        raise CrucibleError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_tokens(path: Path, tokens: NDArray[np.uint16]) -> None:
    """Write a token file atomically.

    Raises
    ------
    RequestError
        The header cannot hold the number of tokens.
    CrucibleError
        The file cannot be written.
    """
    if tokens.size > MOST_TOKENS:
        raise RequestError(
            f"{tokens.size} tokens do not fit into one token file, which holds at most {MOST_TOKENS}; split the text"
        )
    header = np.zeros(HEADER, "<i4")
    header[:3] = MAGIC, VERSION, tokens.size
    with write_atomically(path) as draft, draft.open("wb") as file:
        file.write(header.tobytes())
        file.write(np.ascontiguousarray(tokens, "<u2").data)


def read_tokens(path: Path) -> NDArray[np.uint16]:
    """Return the ids of a token file, memory-mapped and read-only.

    Raises
    ------
    RequestError
        The file cannot be read, or its header or size is not that of a token file.
    """
    try:
        size = path.stat().st_size
        header = np.fromfile(path, "<i4", HEADER) if size >= HEADER_BYTES else np.zeros(HEADER, "<i4")
    except OSError as error:
        raise RequestError(f"cannot read {str(path)!r}: {error.strerror}") from error
    magic, version, count = (int(number) for number in header[:3])
    if size < HEADER_BYTES:
        raise RequestError(f"{str(path)!r} is no token file: {size} bytes are less than its header of {HEADER_BYTES}")
    if magic == LLAMA3_MAGIC:
        raise RequestError(f"{str(path)!r} holds Llama 3 tokens; GPT-2's are needed (magic {MAGIC}, 16 bits each)")
    if (magic, version) != (MAGIC, VERSION):
        raise RequestError(f"{str(path)!r} is no token file: magic {magic}, version {version}; expected {MAGIC}, {VERSION}")
    if count < 0 or size != HEADER_BYTES + 2 * count:
        raise RequestError(f"{str(path)!r} is damaged: {count} tokens make {HEADER_BYTES + 2 * count} bytes, it has {size}")
    if not count:
        raise RequestError(f"{str(path)!r} is empty: it holds no tokens")
    return np.memmap(path, "<u2", "r", offset=HEADER_BYTES, shape=(count,))
