"""Devices: where arrays are allocated and which variants run there. Also one thread count for every pool of the process.

``cpu`` runs the numpy and numba variants. ``cuda`` and ``sim`` run the CUDA variants: on a GPU through CuPy, or in the
simulator, whose arrays are plain numpy. A proof on one device says nothing about another device.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from registry.cuda_graph import GraphedWork
from registry.enums import Device
from registry.errors import RequestError, UnknownNameError
from registry.machine import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from registry.variant import Variant

__all__ = ["Cpu", "DeviceMemory", "Gpu", "SimulatedGpu", "device", "kind_of", "raced_device", "set_threads"]

ALIGNMENT = 64
OLDEST_CUPY = 14  # the first version with bfloat16


class DeviceMemory(Protocol):
    """The memory of a device: arrays are allocated there, and the same work on them is repeated there.

    Attributes
    ----------
    kind : Device
    """

    kind: Device

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised, aligned array."""
        ...

    def free_bytes(self) -> int:
        """Return the number of bytes that can still be allocated."""
        ...

    def put(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Copy a CPU array into an array of this device."""
        ...

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of this device as a CPU array; the CPU returns the array itself."""
        ...

    def repeated(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return a function that runs `work`, which makes the same calls on the same arrays each time, as fast as possible."""
        ...


class Cpu:
    """Memory of the CPU."""

    kind = Device.CPU

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised array whose first byte is at a multiple of 64."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        raw = np.empty(size + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + size].view(dtype).reshape(shape)

    def free_bytes(self) -> int:
        """Return the memory that the system can give to processes without swapping."""
        import psutil

        return int(psutil.virtual_memory().available)

    def put(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Copy values into an array, unless both are the same array."""
        if values is not target:
            target[...] = values

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself."""
        return array

    def repeated(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the work itself."""
        return work


class SimulatedGpu(Cpu):
    """Memory of the CPU. The simulator copies arrays in and out at each launch."""

    kind = Device.SIM


class Gpu:
    """Memory of the current CUDA device, through CuPy. No GPU has run this code yet."""

    kind = Device.CUDA

    def __init__(self) -> None:
        self._refused: Callable[[str], None] | None = None  # receives the reason; None: no CUDA graphs

    def take(self, number: int, processes: int, *, graphs: bool, say: Callable[[str], None]) -> None:
        """Select GPU `number` for this process, with one stream for all later work.

        Parameters
        ----------
        processes : int
            Number of processes on this machine that need one GPU each.
        graphs : bool
            Capture repeated work in CUDA graphs.
        say : callable
            Called once for each reason why work could not be captured.

        Raises
        ------
        RequestError
            There are fewer GPUs than processes.
        """
        import cupy

        count = int(cupy.cuda.runtime.getDeviceCount())
        if processes > count:
            raise RequestError(
                f"{processes} processes need one GPU each, but there are {count}: torchrun --nproc-per-node {count}"
            )
        cupy.cuda.Device(number).use()
        cupy.cuda.Stream(non_blocking=True).use()
        reported: set[str] = set()

        def refused(reason: str) -> None:
            if reason not in reported:
                say(f"launching kernels one by one where no CUDA graph can be captured: {reason}")
            reported.add(reason)

        self._refused = refused if graphs else None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialised CuPy array."""
        import cupy

        array: NDArray[Any] = cupy.empty(shape, dtype)
        return array

    def free_bytes(self) -> int:
        """Return the free memory of the current GPU."""
        import cupy

        return int(cupy.cuda.Device().mem_info[0])

    def put(self, target: NDArray[Any], values: NDArray[Any]) -> None:
        """Copy a CPU array into a GPU array."""
        import cupy

        target[...] = cupy.asarray(values)

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a copy on the CPU, after all earlier work on the stream is done."""
        import cupy

        copied: NDArray[Any] = cupy.asnumpy(array)
        return copied

    def repeated(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the work, as a CUDA graph from the second call on if `take` asked for graphs."""
        return GraphedWork(work, self._refused) if self._refused else work


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


def device(name: str) -> DeviceMemory:
    """Return the memory of the device called `name`.

    Raises
    ------
    RequestError
        The device is unknown, or not available here for the given reason.
    """
    if name not in set(Device):
        raise UnknownNameError("device", name, Device)
    if name == Device.CUDA:
        if why := _why_no_gpu():
            raise RequestError(f"device 'cuda' is not available: {why}; CUDA variants also run on --device sim")
        return Gpu()
    return SimulatedGpu() if name == Device.SIM else Cpu()


def raced_device(name: str) -> DeviceMemory:
    """Return the memory of the device called `name`, for a race.

    Raises
    ------
    RequestError
        The device is unknown, not available here, or simulated.
    """
    if name == Device.SIM:
        raise RequestError("--device sim: a simulated GPU has no time; on a machine with a GPU, race with --device cuda")
    return device(name)


def kind_of(variant: Variant, *, gpu: bool = False) -> Device:
    """Return the device of a variant's records: ``cpu`` for a CPU variant, else ``cuda`` with a `gpu` and ``sim`` without."""
    if variant.device == Device.CPU:
        return Device.CPU
    return Device.CUDA if gpu else Device.SIM


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
