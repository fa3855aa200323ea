"""Launching CUDA kernels: on a GPU through CuPy where the arrays are CuPy's, in the simulator where they are numpy's.

The CuPy path is written to CuPy's documented interface (`cupy.RawModule`) and is unverified on hardware: no GPU has run it
yet. Importing this module needs neither CuPy nor the simulator.
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
from registry.table import ROOT

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

STORED_AS = {"float32": (), "bfloat16": ("-DFLOATX=bf16",)}  # what `floatX` is in a kernel
INCLUDE = ROOT / "kernels" / "cuda"
SHARED_WITHOUT_ASKING = 48 * 1024  # bytes of dynamic shared memory that a kernel may have without an attribute set


@dataclass(frozen=True)
class CudaKernel:
    """A ``__global__`` function of the ``.cu`` file that stands beside a variant's file under the same stem.

    Attributes
    ----------
    file : str
        The variant's ``__file__``.
    name : str
        The kernel, declared ``extern "C"``.
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
        """Return the compiler's options for a problem of `dtype`, which ``crucible.cuh`` makes known as ``floatX``."""
        return (*self.options, *STORED_AS[dtype])


class KernelError(CrucibleError):
    """A kernel that does not compile, or that the simulator cannot launch or execute: the message is the simulator's."""


class SimulatedFault(CrucibleError):  # noqa: N818 (what happened, not what raised it)
    """A kernel that the simulator found at fault: a race, an access out of bounds, a barrier that not all threads reach.

    Attributes
    ----------
    kind : str
        Of the finding that is told first; the simulator's documentation names the kinds.
    findings : sequence of simulator.Finding
        All of them.
    """

    def __init__(self, kind: str, findings: Sequence[simulator.Finding]) -> None:
        first = next((f for f in findings if f.kind == kind), None)
        where = f"{Path(first.path).name}:{first.line}: {first.message}" if first and first.path else first and first.message
        more = f" (and {len(findings) - 1} more findings)" if len(findings) > 1 else ""
        super().__init__(f"{kind}: {where or 'the launch was stopped'}{more}")
        self.kind, self.findings = kind, findings

    def lines(self) -> list[str]:
        """Return one line for each finding: the line of the source, its code, what happened, and where first."""
        return [_told(finding) for finding in self.findings] or [str(self)]


def _told(finding: simulator.Finding) -> str:
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
        """Return which of `args` lie in memory that no launch has been given yet, and count it as written from now on."""
        arrays = {number: a for number, a in enumerate(args) if isinstance(a, np.ndarray)}
        fresh = [n for n, a in arrays.items() if any(np.may_share_memory(a, u) for u in self.unwritten)]
        self.unwritten[:] = [u for u in self.unwritten if not any(np.may_share_memory(arrays[n], u) for n in fresh)]
        return tuple(fresh)


_simulation: ContextVar[_Simulation | None] = ContextVar("simulation", default=None)


@contextmanager
def simulation(
    mode: Mode = "fast", order: Order = "ascending", *, unwritten: Iterable[NDArray[Any]] = ()
) -> Iterator[list[simulator.Launch]]:
    """Say how kernels launched on numpy arrays are simulated inside the ``with`` block.

    Parameters
    ----------
    mode : {"fast", "checked"}
        ``checked`` looks for races, uninitialised reads and accesses out of bounds, and counts memory traffic.
    order : {"ascending", "descending"} or int
        The order in which the warps of a block run; a number is the seed of a random one.
    unwritten : iterable of array
        Outputs and workspace: in checked mode, the first launch that is given one of them must write before it reads.

    Yields
    ------
    list of simulator.Launch
        Filled with every launch made inside the block, the one that is at fault included.
    """
    chosen = _Simulation(mode, order, list(unwritten))
    token = _simulation.set(chosen)
    try:
        yield chosen.launches
    finally:
        _simulation.reset(token)


def launch(kernel: CudaKernel, grid: Shape, block: Shape, args: Sequence[Any], *, shared: int = 0) -> None:
    """Launch a kernel on the device that its arrays are on; its ``floatX`` is bf16 if one of them is bfloat16, else float.

    Parameters
    ----------
    kernel : CudaKernel
    grid, block : int or tuple of up to three int
        Blocks of the grid and threads of a block.
    args : sequence
        Contiguous arrays and scalars, in the kernel's order. A Python int may stand for any integer or bool parameter, a
        Python float for a ``float`` one; numpy scalars are passed as they are.
    shared : int
        Bytes of dynamic shared memory.

    Raises
    ------
    ContractError
        The arguments hold no array, or arrays of both kinds.
    KernelError
        The kernel does not compile, or cannot be launched or simulated like this.
    SimulatedFault
        The simulator found the kernel at fault.
    """
    on_host = [isinstance(a, np.ndarray) for a in args]
    on_device = [hasattr(type(a), "__cuda_array_interface__") for a in args]  # not the object: that would compute it
    if any(on_host) == any(on_device):
        what = "arrays of the host and of a GPU" if any(on_host) else "no array"
        raise ContractError(f"kernel {kernel.name!r} was given {what}: its arrays say where it runs")
    run = _simulate if any(on_host) else _launch_on_gpu
    run(kernel, _dim3(grid), _dim3(block), args, shared)


def _dim3(shape: Shape) -> tuple[int, ...]:
    return tuple(map(int, shape)) if isinstance(shape, tuple) else (int(shape),)


def _options(kernel: CudaKernel, args: Sequence[Any]) -> tuple[str, ...]:
    return kernel.options_for("bfloat16" if any(map(is_bfloat16, args)) else "float32")


def load_simulator() -> None:
    """Have the simulator ready in this process, and so in those that are forked from it."""
    import simulator

    with suppress(simulator.SimulatorError):  # told by the launch that meets it
        simulator.compile_ahead()


def kernels_of(variant: Variant) -> list[CudaKernel]:
    """Return the kernels that a variant's own file names, in its order."""
    values = list(vars(sys.modules[variant.function.__module__]).values())
    inside = [value.values() if isinstance(value, dict) else (value,) for value in values]
    return [value for values in inside for value in values if isinstance(value, CudaKernel)]


def compile_ahead(variant: Variant) -> None:
    """Compile a variant's kernels for the simulator, the last that a proof comes to first: it meets another process halfway."""
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

    how: dict[str, Any] = {"mode": chosen.mode, "order": chosen.order, "unwritten": chosen.take_unwritten(args)}
    try:
        compiled = _simulated_module(kernel.source, _options(kernel, args)).kernel(kernel.name)
        done = compiled.launch(grid, block, args, shared=shared, **how)
    except simulator.SimulatorError as error:
        raise KernelError(f"{type(error).__name__}: {error}") from error
    chosen.launches.append(done)
    if done.findings:
        raise SimulatedFault(done.findings[0].kind if done.status == "ok" else done.status, done.findings)


@cache
def _gpu_module(source: Path, options: tuple[str, ...]) -> Any:  # noqa: ANN401 (CuPy has no types)
    cupy = importlib.import_module("cupy")
    # CuPy caches by source and options: the headers' digest stands among them, so that an edited header is compiled anew.
    headers = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(INCLUDE.glob("*.cuh")))).hexdigest()[:16]
    fixed = ("-std=c++17", "-lineinfo", f"-I{INCLUDE}", f"-DCRUCIBLE_HEADERS=0x{headers}")
    return cupy.RawModule(code=source.read_text(), options=(*fixed, *options))


@cache
def _gpu_function(source: Path, options: tuple[str, ...], name: str) -> Any:  # noqa: ANN401 (the same)
    return _gpu_module(source, options).get_function(name)


def _as_parameter(argument: Any) -> Any:  # noqa: ANN401 (an array of any library, or a scalar)
    """Return Python scalars as CuPy must pass them: it copies as many bytes as the parameter has, the lowest first."""
    if isinstance(argument, int):  # bool too
        return np.int64(argument)
    return np.float32(argument) if type(argument) is float else argument


def _launch_on_gpu(kernel: CudaKernel, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared: int) -> None:
    function = _gpu_function(kernel.source, _options(kernel, args), kernel.name)
    if shared > SHARED_WITHOUT_ASKING:
        function.max_dynamic_shared_size_bytes = shared
    function(grid, block, tuple(map(_as_parameter, args)), shared_mem=shared)
