"""Devices: where arrays live and which variants run there; and one thread count for every pool in the process.

``cpu`` runs the variants of the host. ``cuda`` and ``sim`` run the CUDA variants: on a GPU through CuPy, or in the
simulator, whose arrays are plain numpy. What has been proven on one of them has not been proven on the other.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from registry.errors import RequestError, UnknownNameError
from registry.machine import thread_count
from registry.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from registry.variant import Variant

__all__ = ["DEVICES", "Device", "Gpu", "Host", "SimulatedGpu", "device", "kind_of", "raced_device", "set_threads"]

ALIGNMENT = 64
OLDEST_CUPY = 14  # the first that knows bfloat16
DEVICES = ("cpu", "cuda", "sim")


class Device(Protocol):
    """Where arrays live.

    Attributes
    ----------
    name : str
        What records say: ``host``, ``cuda`` or ``sim``.
    """

    name: str

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised, aligned array."""
        ...

    def put(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Copy values of the host into an array of this device."""
        ...

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of this device as one of the host: the same one where the device is the host."""
        ...

    def repeated(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what does `work`, which is the same calls on the same arrays each time, as quickly as this device can."""
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

    def put(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Copy values into an array, unless they are that array's own."""
        if values is not target:
            target[...] = values

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself."""
        return array

    def repeated(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the work itself."""
        return work


class SimulatedGpu(Host):
    """Plain memory, which the simulator copies from and to at each launch."""

    name = "sim"


class Gpu:
    """Memory of the current CUDA device, through CuPy. Unverified on hardware."""

    name = "cuda"

    def __init__(self) -> None:
        self._refused: Callable[[str], None] | None = None  # told of what no graph can hold; None where none are wanted

    def take(self, number: int, processes: int, *, graphs: bool, say: Callable[[str], None]) -> None:
        """Make GPU `number` this process's, and give it one stream for everything that follows.

        Parameters
        ----------
        processes : int
            How many on this machine want a GPU of their own.
        graphs : bool
            Capture repeated work in CUDA graphs.
        say : callable
            Told, once, why something could not be captured.

        Raises
        ------
        RequestError
            There are fewer GPUs.
        """
        import cupy

        count = int(cupy.cuda.runtime.getDeviceCount())
        if processes > count:
            raise RequestError(
                f"{processes} processes want a GPU each and there are {count}: torchrun --nproc-per-node {count}"
            )
        cupy.cuda.Device(number).use()
        cupy.cuda.Stream(non_blocking=True).use()
        told: set[str] = set()

        def refused(why: str) -> None:
            if why not in told:
                say(f"launching kernels one by one where no CUDA graph can be captured: {why}")
            told.add(why)

        self._refused = refused if graphs else None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised CuPy array."""
        import cupy

        made: NDArray[Any] = cupy.empty(shape, dtype)
        return made

    def put(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Copy values of the host to the GPU."""
        import cupy

        target[...] = cupy.asarray(values)

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a copy on the host, once everything before has been computed."""
        import cupy

        copied: NDArray[Any] = cupy.asnumpy(array)
        return copied

    def repeated(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the work as a CUDA graph from the second time on, where graphs are wanted."""
        return Replay(work, self._refused) if self._refused else work


def _why_no_gpu() -> str:
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install 'cupy-cuda13x[ctk]')"
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({' '.join(str(error).split())})"
    if int(cupy.__version__.partition(".")[0]) < OLDEST_CUPY:
        return f"CuPy {cupy.__version__} is too old (pip install 'cupy-cuda13x[ctk]>={OLDEST_CUPY}')"
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no GPU ({error})"
    return ""


def device(name: str) -> Device:
    """Return the device called `name`.

    Raises
    ------
    RequestError
        It is unknown or not available here, with the reason.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, DEVICES)
    if name == "cuda":
        if why := _why_no_gpu():
            raise RequestError(f"device 'cuda' is not available: {why}; CUDA variants also run on --device sim")
        return Gpu()
    return SimulatedGpu() if name == "sim" else Host()


def raced_device(name: str) -> Device:
    """Return the device called `name` if races are run on it.

    Raises
    ------
    RequestError
        It is unknown, not available here, or simulated.
    """
    if name == SimulatedGpu.name:
        raise RequestError("--device sim: a simulated GPU has no time; race on --device cuda, where there is a GPU")
    return device(name)


def kind_of(variant: Variant, *, gpu: bool = False) -> str:
    """Return where a variant runs, as records say it: ``host``, else ``cuda`` if there is a `gpu`, else ``sim``."""
    if variant.device == "host":
        return "host"
    return "cuda" if gpu else "sim"


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
