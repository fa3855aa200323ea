"""The memory of a call, mapped in a variant's process between pages without access.

An access outside the arrays and the guard bands around them hits these pages and ends the process.
"""

from __future__ import annotations

import ctypes
import mmap
import os

__all__ = ["GuardedMap"]

MOAT = 1 << 28  # bytes of addresses without access on either side; they take no memory
PROT_NONE = 0
MAP_FIXED = 0x10
FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def _map(address: int | None, size: int, protection: int, flags: int, file: int) -> int:
    mapped: int | None = _libc.mmap(address, size, protection, flags, file, 0)
    if mapped is None or mapped == FAILED:
        raise OSError(ctypes.get_errno(), f"cannot map {size} bytes: {os.strerror(ctypes.get_errno())}")
    return mapped


class GuardedMap:
    """The first bytes of a file, shared with every process that maps it.

    Parameters
    ----------
    file : int
        Descriptor of the file.
    size : int
        Bytes to map, a multiple of the page size.

    Attributes
    ----------
    buffer : memoryview
        The bytes. Arrays on it are invalid once the map is closed.
    """

    def __init__(self, file: int, size: int) -> None:
        self.size = size
        self._start = _map(None, size + 2 * MOAT, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
        inside = _map(self._start + MOAT, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | MAP_FIXED, file)
        self.buffer = memoryview((ctypes.c_char * size).from_address(inside)).cast("B")

    def close(self) -> None:
        """Unmap the file and the pages around it."""
        _libc.munmap(self._start, self.size + 2 * MOAT)
