"""Launch CUDA kernels: on a GPU through CuPy for CuPy arrays, in the simulator for numpy arrays.

The CuPy path follows CuPy's documented interface (`cupy.RawModule`). No GPU has run it yet. Importing this module needs
neither CuPy nor the simulator.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from registry.dtypes import is_bfloat16
from registry.errors import ContractError, CrucibleError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    import simulator
    from registry.variant import Variant

__all__ = [
    "INCLUDE",
    "CudaKernel",
    "KernelError",
    "SimulatedFault",
    "compile_ahead",
    "kernels_of",
    "launch",
    "load_simulator",
    "simulation",
]

Shape = int | tuple[int, ...]
Mode = Literal["fast", "checked"]
Order = Literal["ascending", "descending"] | int

STORED_AS = {"float32": (), "bfloat16": ("-DFLOATX=bf16",)}  # compiler options that define `floatX`
INCLUDE = ROOT / "kernels" / "cuda"
SHARED_WITHOUT_ASKING = 48 * 1024  # bytes of dynamic shared memory that a kernel gets without setting an attribute


@dataclass(frozen=True)
class CudaKernel:
    """A ``__global__`` function in the ``.cu`` file of a variant, which has the stem of the variant's Python file.

    Attributes
    ----------
    file : str
        The variant's ``__file__``.
    name : str
        Name of the kernel, which is declared ``extern "C"``.
    options : tuple of str
        Options for the compiler, such as ``"-DHEAD=64"``.
    """

    file: str
    name: str
    options: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        """The ``.cu`` file."""
        return Path(self.file).with_suffix(".cu")

    def options_for(self, dtype: str) -> tuple[str, ...]:
        """Return the compiler options for a problem of `dtype`. They define ``floatX`` of ``crucible.cuh``."""
        return (*self.options, *STORED_AS[dtype])


class KernelError(CrucibleError):
    """A kernel does not compile, or the simulator cannot launch or execute it; the message is the simulator's."""


class SimulatedFault(CrucibleError):  # noqa: N818 (it names the event)
    """The simulator found a fault in a kernel: a race, an access out of bounds, a barrier that not all threads reach.

    Attributes
    ----------
    kind : str
        Kind of the finding that the message shows. The simulator's documentation lists the kinds.
    findings : sequence of simulator.Finding
        All findings.
    """

    def __init__(self, kind: str, findings: Sequence[simulator.Finding]) -> None:
        first = next((f for f in findings if f.kind == kind), None)
        where = f"{Path(first.path).name}:{first.line}: {first.message}" if first and first.path else first and first.message
        more = f" (and {len(findings) - 1} more findings)" if len(findings) > 1 else ""
        super().__init__(f"{kind}: {where or 'the launch was stopped'}{more}")
        self.kind, self.findings = kind, findings

    def lines(self) -> list[str]:
        """Return one line for each finding: the source line, the kind, the message, the first thread, and the code."""
        return [_finding_line(finding) for finding in self.findings] or [str(self)]


def _finding_line(finding: simulator.Finding) -> str:
    path = Path(finding.path)
    where = f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{finding.line}" if finding.path else "PTX"
    times = f", {finding.count} times" if finding.count > 1 else ""
    place = f"block {finding.block}, thread {finding.thread}{times}"
    return f"{where}: {finding.kind}: {finding.message} ({place}): {finding.code.strip()}"


@dataclass(frozen=True)
class _Simulation:
    mode: Mode = "fast"
    order: Order = "ascending"
    unwritten: list[NDArray[Any]] = field(default_factory=list)
    launches: list[simulator.Launch] = field(default_factory=list)

    def take_unwritten(self, args: Sequence[Any]) -> tuple[int, ...]:
        """Return the numbers of `args` whose memory no launch has received yet, and count that memory as written."""
        arrays = {number: a for number, a in enumerate(args) if isinstance(a, np.ndarray)}
        fresh = [n for n, a in arrays.items() if any(np.may_share_memory(a, u) for u in self.unwritten)]
        self.unwritten[:] = [u for u in self.unwritten if not any(np.may_share_memory(arrays[n], u) for n in fresh)]
        return tuple(fresh)


_simulation: ContextVar[_Simulation | None] = ContextVar("simulation", default=None)


@contextmanager
def simulation(
    mode: Mode = "fast", order: Order = "ascending", *, unwritten: Iterable[NDArray[Any]] = ()
) -> Iterator[list[simulator.Launch]]:
    """Set how the simulator runs kernels that are launched inside the ``with`` block.

    Parameters
    ----------
    mode : {"fast", "checked"}
        ``checked`` looks for races, uninitialised reads and accesses out of bounds, and counts memory traffic.
    order : {"ascending", "descending"} or int
        The order in which the warps of a block run. A number is the seed of a random order.
    unwritten : iterable of array
        Outputs and workspace. In checked mode, the first launch that receives one of them must write it before reading it.

    Yields
    ------
    list of simulator.Launch
        Receives every launch made inside the block, also a launch with findings.
    """
    chosen = _Simulation(mode, order, list(unwritten))
    token = _simulation.set(chosen)
    try:
        yield chosen.launches
    finally:
        _simulation.reset(token)


def launch(kernel: CudaKernel, grid: Shape, block: Shape, args: Sequence[Any], *, shared: int = 0) -> None:
    """Launch a kernel on the device of its arrays; its ``floatX`` is bf16 if an array is bfloat16, else float.

    Parameters
    ----------
    kernel : CudaKernel
    grid, block : int or tuple of up to three int
        Blocks of the grid and threads of a block.
    args : sequence
        Contiguous arrays and scalars, in the kernel's order. A Python int fits any integer or bool parameter, a Python
        float fits a ``float`` parameter. Numpy scalars are passed unchanged.
    shared : int
        Bytes of dynamic shared memory.

    Raises
    ------
    ContractError
        The arguments hold no array, or arrays of both the CPU and a GPU.
    KernelError
        The kernel does not compile, or cannot be launched or simulated with these arguments.
    SimulatedFault
        The simulator found a fault in the kernel.
    """
    on_cpu = [isinstance(a, np.ndarray) for a in args]
    on_gpu = [hasattr(type(a), "__cuda_array_interface__") for a in args]  # on the type: CuPy computes it on the object
    if any(on_cpu) == any(on_gpu):
        arrays = "arrays of the CPU and of a GPU" if any(on_cpu) else "no array"
        raise ContractError(f"kernel {kernel.name!r} received {arrays}: its arrays decide where it runs")
    run = _simulate if any(on_cpu) else _launch_on_gpu
    run(kernel, _dim3(grid), _dim3(block), args, shared)


def _dim3(shape: Shape) -> tuple[int, ...]:
    return tuple(map(int, shape)) if isinstance(shape, tuple) else (int(shape),)


def _options(kernel: CudaKernel, args: Sequence[Any]) -> tuple[str, ...]:
    return kernel.options_for("bfloat16" if any(map(is_bfloat16, args)) else "float32")


def load_simulator() -> None:
    """Load the simulator into this process. Processes that are forked from it later have it loaded, too."""
    import simulator

    with suppress(simulator.SimulatorError):  # the first launch raises the error
        simulator.compile_ahead()


def kernels_of(variant: Variant) -> list[CudaKernel]:
    """Return the kernels that a variant's own file defines, in order."""
    values = list(vars(sys.modules[variant.function.__module__]).values())
    inside = [value.values() if isinstance(value, dict) else (value,) for value in values]
    return [value for values in inside for value in values if isinstance(value, CudaKernel)]


def compile_ahead(variant: Variant) -> None:
    """Compile a variant's kernels for the simulator, the last one first.

    A proof in another process compiles them as it uses them, the first one first: the two processes meet halfway.
    """
    import simulator

    kernels = kernels_of(variant)
    wanted = [(kernel.source, kernel.options_for(dtype), kernel.name) for kernel in kernels for dtype in variant.dtypes]
    simulator.compile_kernels(wanted[::-1], include=(INCLUDE,))


@cache
def _simulated_module(source: Path, options: tuple[str, ...]) -> simulator.Module:
    import simulator

    return simulator.Module.from_source(source, options=options, include=(INCLUDE,))


def _simulate(kernel: CudaKernel, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared: int) -> None:
    chosen = _simulation.get() or _Simulation()
    import simulator

    options: dict[str, Any] = {"mode": chosen.mode, "order": chosen.order, "unwritten": chosen.take_unwritten(args)}
    try:
        compiled = _simulated_module(kernel.source, _options(kernel, args)).kernel(kernel.name)
        done = compiled.launch(grid, block, args, shared=shared, **options)
    except simulator.SimulatorError as error:
        raise KernelError(f"{type(error).__name__}: {error}") from error
    chosen.launches.append(done)
    if done.findings:
        raise SimulatedFault(done.findings[0].kind if done.status == "ok" else done.status, done.findings)


@cache
def _gpu_module(source: Path, options: tuple[str, ...]) -> Any:  # noqa: ANN401 (CuPy has no types)
    cupy = importlib.import_module("cupy")
    # CuPy caches by source and options: a digest of the headers is one of the options, so that an edited header is compiled.
    headers = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(INCLUDE.glob("*.cuh")))).hexdigest()[:16]
    fixed = ("-std=c++17", "-lineinfo", f"-I{INCLUDE}", f"-DCRUCIBLE_HEADERS=0x{headers}")
    return cupy.RawModule(code=source.read_text(), options=(*fixed, *options))


@cache
def _gpu_function(source: Path, options: tuple[str, ...], name: str) -> Any:  # noqa: ANN401 (the same)
    return _gpu_module(source, options).get_function(name)


def _as_parameter(argument: Any) -> Any:  # noqa: ANN401 (an array of any library, or a scalar)
    """Return a Python scalar as CuPy must pass it: CuPy copies the lowest bytes, as many as the parameter has."""
    if isinstance(argument, int):  # bool too
        return np.int64(argument)
    return np.float32(argument) if type(argument) is float else argument


def _launch_on_gpu(kernel: CudaKernel, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared: int) -> None:
    function = _gpu_function(kernel.source, _options(kernel, args), kernel.name)
    if shared > SHARED_WITHOUT_ASKING:
        function.max_dynamic_shared_size_bytes = shared
    function(grid, block, tuple(map(_as_parameter, args)), shared_mem=shared)
