"""Confines a variant's process by Linux's Landlock: it may write to the caches of compilers and to temporary files only.

A kernel has no reason to write files. A kernel that could write them might change the harness, the records, or the reference
outputs that are stored for the next proof. The system calls are those of ``linux/landlock.h`` (Linux 5.13 and later).
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["can_confine", "confine_writes"]

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, the same on every processor
ASK_VERSION = 1
PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38
WRITE_FILE = 1 << 1
CHANGES = WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # to remove or make files and folders, of every kind
REFER, TRUNCATE = 1 << 13, 1 << 14  # to move or link a file to another folder, to truncate one: versions 2 and 3
REFER_SINCE, TRUNCATE_SINCE = 2, 3


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _version() -> int:
    try:
        return _call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(ASK_VERSION))
    except OSError:
        return 0


def can_confine() -> bool:
    """Return whether this system can forbid a process to write files."""
    return _version() > 0


def confine_writes(writable: Iterable[Path]) -> None:
    """Allow this process, and processes that it starts, to make, change and remove files below some folders only.

    The limit holds until the process ends. On a system without Landlock nothing happens; see `can_confine`.

    Parameters
    ----------
    writable : iterable of Path
        Folders; a folder that does not exist is ignored.

    Raises
    ------
    OSError
        The system refused.
    """
    version = _version()
    if not version:
        return
    denied = CHANGES | (REFER if version >= REFER_SINCE else 0) | (TRUNCATE if version >= TRUNCATE_SINCE else 0)
    attributes = struct.pack("=Q", denied)
    rules = _call(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    try:
        for folder in writable:
            if folder.is_dir():
                beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
                try:
                    rule = struct.pack("=Qi", denied, beneath)
                    _call(ADD_RULE, ctypes.c_int(rules), ctypes.c_int(PATH_BENEATH), rule, ctypes.c_uint(0))
                finally:
                    os.close(beneath)
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call(RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)
