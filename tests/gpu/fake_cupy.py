"""A stand-in for the part of CuPy that the project uses. Its arrays are in CPU memory, its kernels run in the simulator.

Names, defaults and errors follow CuPy 14 (docs.cupy.dev, "API Reference"; `test_fake_cupy` compares the names if CuPy is
installed). Arrays are no numpy arrays and do not mix with them, work goes to the current stream, and a capturing stream runs
nothing. Two rules are stricter than CuPy's, to find mistakes: all functions of numpy refuse the arrays, and memory may not be
allocated during a capture (CuPy's relaxed mode lets the pool grow). Work is done at its submission, so the stand-in does not
find a missing `synchronize`. `done` lists the finished work in order, as pairs of a stream's handle and a description. The
stand-in is not a GPU: code that passes these tests is still unverified on hardware.
"""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import simulator
from simulator.files import write_atomically
from tests.gpu.fake_streams import CUDADriverError, CUDARuntimeError, Event, Graph, Stream, get_elapsed_time
from tests.gpu.fake_streams import context as _context

__all__ = [
    "RawKernel",
    "RawModule",
    "asarray",
    "asnumpy",
    "cublas",
    "cuda",
    "done",
    "empty",
    "get_default_memory_pool",
    "ndarray",
    "zeros",
]
__version__ = "14.fake"

ALIGNMENT = 512  # alignment of cudaMalloc and of CuPy's pool
SHARED_WITHOUT_ASKING = 48 * 1024
L2_BYTES = 1 << 20
DEVICES = 1
MEMORY_BYTES = 1 << 32
done = _context.done
SOURCES = Path(__file__).resolve().parents[2] / ".cache" / "fake_cupy"
NO_MIXING = "Unsupported type <class 'numpy.ndarray'>"
NO_NUMPY = "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."


class ndarray:  # noqa: N801 (CuPy's name)
    """An array on the device."""

    def __init__(self, memory):
        self._memory = memory

    shape = property(lambda self: self._memory.shape)
    dtype = property(lambda self: self._memory.dtype)
    ndim = property(lambda self: self._memory.ndim)
    size = property(lambda self: self._memory.size)
    nbytes = property(lambda self: self._memory.nbytes)
    itemsize = property(lambda self: self._memory.itemsize)
    strides = property(lambda self: self._memory.strides)
    flags = property(lambda self: self._memory.flags)
    T = property(lambda self: ndarray(self._memory.T))

    @property
    def __cuda_array_interface__(self):
        """Version 3 of the interface."""
        address = self._memory.ctypes.data if self.size else 0
        strides = None if self._memory.flags.c_contiguous else self.strides
        described = {"shape": self.shape, "typestr": self.dtype.str, "strides": strides, "stream": 1}
        return {**described, "data": (address, False), "version": 3}

    def __array__(self, *_, **__):
        raise TypeError(NO_NUMPY)

    def __array_ufunc__(self, *_, **__):
        return NotImplemented

    def __len__(self):
        return len(self._memory)

    def __getitem__(self, where):
        return ndarray(
            self._memory[(where, ...) if isinstance(where, int) else where]
        )  # a single element is an array without dims, as in CuPy

    def __setitem__(self, where, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError(NO_MIXING)
        kept = value._memory if isinstance(value, ndarray) else value  # noqa: SLF001 (an array's own memory)
        _context.submit(lambda: self._memory.__setitem__(where, kept), "copy")

    def reshape(self, *shape):
        """Return a view of another shape."""
        return ndarray(self._memory.reshape(*shape))

    def view(self, dtype=None):
        """Return a view of another dtype."""
        return ndarray(self._memory.view(dtype))

    def fill(self, value):
        """Set every element."""
        _context.submit(lambda: self._memory.fill(value), "fill")

    def copy(self):
        """Return a copy on the device."""
        result = empty(self.shape, self.dtype)
        result[...] = self
        return result

    def sum(self):
        """Return the sum, an array without dims."""
        result = empty((), self.dtype)
        _context.submit(lambda: result._memory.__setitem__((), self._memory.sum()), "sum")  # noqa: SLF001 (the same)
        return result

    def get(self):
        """Return a copy in CPU memory, after all earlier work."""
        _context.wait()
        return self._memory.copy()

    def __dlpack__(self, *, stream=None, **_):
        """Return a capsule of plain memory, which is where a GPU's is here."""
        del stream
        return self._memory.__dlpack__()

    def __dlpack_device__(self):
        """Say that the memory is of the CPU."""
        return self._memory.__dlpack_device__()

    def item(self):
        """Return the only element as a Python scalar."""
        return self.get().item()

    __float__ = __int__ = __bool__ = item


def empty(shape, dtype=float):
    """Return uninitialised device memory (filled with NaN or -1 here)."""
    _context.wait()
    shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size > MEMORY_BYTES:
        raise MemoryError(f"Out of memory allocating {size:,} bytes")
    raw = np.full(size + ALIGNMENT, 0xFF, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return ndarray(raw[start : start + size].view(dtype).reshape(shape))


def zeros(shape, dtype=float):
    """Return an array of zeros."""
    result = empty(shape, dtype)
    result.fill(0)
    return result


def asarray(a, dtype=None):
    """Return a copy of `a` on the device, or `a` itself if it is a device array."""
    if isinstance(a, ndarray):
        return a
    values = np.asarray(a, dtype)
    result = empty(values.shape, values.dtype)
    result[...] = ndarray(values.copy())
    return result


def asnumpy(a):
    """Return a copy of `a` as a numpy array."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


class RawKernel:
    """One function of a module."""

    def __init__(self, kernel, name):
        self._kernel, self.name = kernel, name
        self.max_dynamic_shared_size_bytes = SHARED_WITHOUT_ASKING

    def __call__(self, grid, block, args, *, shared_mem=0):
        """Launch on the current stream."""
        if not (isinstance(grid, tuple) and isinstance(block, tuple)):
            raise TypeError("Argument 'grid' and 'block' have to be tuples")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        passed = [_parameter(a) for a in args]
        shown = tuple(a.ctypes.data if isinstance(a, np.ndarray) else a for a in passed)

        def run():
            where = tuple(max(1, n) for n in grid), tuple(max(1, n) for n in block)  # as cupy.cuda.Function does
            done = self._kernel.launch(*where, passed, shared=shared_mem)
            if done.findings:
                _context.lost = "cudaErrorIllegalAddress: an illegal memory access was encountered"

        _context.submit(run, (self.name, grid, block, shown, shared_mem))


def _parameter(argument):
    if isinstance(argument, ndarray):
        if not argument.flags.c_contiguous:
            raise ValueError("the project passes contiguous arrays only")
        return argument._memory  # noqa: SLF001 (an array's own memory)
    if isinstance(argument, np.integer):  # CuPy passes the bytes of the integer, and a narrower parameter reads the low bytes
        return int(argument)
    if isinstance(argument, (int, float, np.generic)):
        return argument
    raise TypeError(f"Unsupported type {type(argument)}")


class RawModule:
    """A translation unit. The first `get_function` compiles it."""

    def __init__(self, *, code, options=(), backend="nvrtc"):
        if not isinstance(options, tuple) or backend != "nvrtc":
            raise TypeError("Argument 'options' has incorrect type (expected tuple)")
        self.code, self.options, self._module = code, options, None

    def get_function(self, name):
        """Return the kernel called `name`."""
        if self._module is None:
            include = tuple(Path(o[2:]) for o in self.options if o.startswith("-I"))
            defined = tuple(o for o in self.options if o.startswith("-D"))
            path = SOURCES / f"{hashlib.sha256(self.code.encode()).hexdigest()[:16]}.cu"
            write_atomically(path, self.code.encode())  # other ranks write the same file
            self._module = simulator.Module.from_source(path, options=defined, include=include)
        return RawKernel(self._module.kernel(name), name)


class Device:
    """One of the devices. All of them share the CPU's memory."""

    def __init__(self, device=None):
        self.id = _context.device if device is None else device

    def use(self):
        """Make this device the current one."""
        if self.id >= DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        _context.device = self.id

    compute_capability = "90"
    attributes = property(lambda _: {"L2CacheSize": L2_BYTES, "MultiProcessorCount": 4, "ClockRate": 1_000_000})
    mem_info = property(lambda _: (MEMORY_BYTES, MEMORY_BYTES))

    def synchronize(self):
        """Wait until all work is done."""
        _context.wait()


class MemoryPool:
    """A pool without function: Python manages the memory."""

    def free_all_blocks(self):
        """Do nothing."""


def get_default_memory_pool():
    """Return the pool."""
    return MemoryPool()


def gemm(transa, transb, a, b, out=None, alpha=1.0, beta=0.0):
    """Compute ``out = alpha * op(a) @ op(b) + beta * out``, as ``cupy.cublas.gemm``. A stream cannot capture the call."""
    if _context.streams[-1].is_capturing():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    left, right, into = a._memory, b._memory, out._memory  # noqa: SLF001 (the same)
    left, right = (left if transa == "N" else left.T), (right if transb == "N" else right.T)
    _context.submit(lambda: np.copyto(into, alpha * (left @ right) + beta * into, casting="same_kind"), "gemm")


cublas = SimpleNamespace(gemm=gemm)
cuda = SimpleNamespace(
    Device=Device,
    Event=Event,
    Graph=Graph,
    Stream=Stream,
    compiler=SimpleNamespace(CompileException=simulator.CompileError),
    driver=SimpleNamespace(CUDADriverError=CUDADriverError),
    get_current_stream=lambda: _context.streams[-1],
    get_elapsed_time=get_elapsed_time,
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: DEVICES,
        getDeviceProperties=lambda _: {"name": b"Fake GPU 1"},
        runtimeGetVersion=lambda: 13000,
    ),
)


def install(folder):
    """Write a package ``cupy`` to `folder`, for child processes that have it on ``PYTHONPATH``."""
    package = Path(folder) / "cupy"
    package.mkdir(parents=True, exist_ok=True)
    name = "tests.gpu.fake_cupy"
    code = f'import sys\nfrom importlib import import_module\nsys.modules["cupy"] = import_module("{name}")\n'
    (package / "__init__.py").write_text(code)
    return sys.modules[__name__]
