"""The host device: where arrays live, and one thread count for every pool in the process.

CUDA and the simulated GPU will stand beside it under the same protocol; until then `device` refuses their names.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from registry.errors import RequestError, UnknownNameError
from registry.machine import thread_count

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["DEVICES", "Device", "Host", "device", "set_threads"]

ALIGNMENT = 64
DEVICES = {
    "cpu": "",
    "cuda": "CUDA variants are not part of this version",
    "sim": "the CUDA simulator is not part of this version",
}


class Device(Protocol):
    """Where arrays live."""

    name: str

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised, aligned array."""
        ...


class Host:
    """Plain memory."""

    name = "host"

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised array whose first byte stands at a multiple of 64."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        raw = np.empty(size + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + size].view(dtype).reshape(shape)


def device(name: str) -> Device:
    """Return the device called `name`.

    Raises
    ------
    RequestError
        It is unknown or not available here, with the reason.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, DEVICES)
    if DEVICES[name]:
        raise RequestError(f"device {name!r} is not available: {DEVICES[name]}; use --device cpu")
    return Host()


def set_threads(count: int) -> None:
    """Give every thread pool in this process (numba's, BLAS's) the same number of threads.

    Raises
    ------
    RequestError
        `count` is not between 1 and the number of usable cores.
    """
    if not 1 <= count <= thread_count():
        raise RequestError(f"--threads {count}: this process may use 1 to {thread_count()} cores")
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.set_num_threads(count)
