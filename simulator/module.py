"""The simulator's public face: modules, their kernels, and launches."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from simulator import ptx
from simulator.checks.run import run_checked
from simulator.clang import CACHE, compile_to_ptx
from simulator.codegen.compile import Target
from simulator.errors import CompileError, LaunchError, nearest
from simulator.prepared import prepare
from simulator.program import Program
from simulator.runtime.arguments import three
from simulator.runtime.launch import Request
from simulator.runtime.run import run_fast
from simulator.variables import ModuleMemory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from simulator.runtime.launch import Launch

__all__ = ["KERNELS", "MODES", "Kernel", "Module", "digest_of"]

KERNELS = CACHE / "kernels"
_RUN = {"fast": run_fast, "checked": run_checked}
MODES = tuple(_RUN)


def digest_of(text: str) -> str:
    """Return the digest of a module's PTX, under which the cache holds its kernels."""
    return hashlib.sha256(text.encode()).hexdigest()


class Module:
    """One compiled translation unit; its device variables keep their values from launch to launch."""

    def __init__(self, parsed: ptx.Module, *, target: Target | None = None, digest: str = "") -> None:
        self._parsed, self._digest = parsed, digest
        self._memory = ModuleMemory(parsed)
        self._target = target or Target.this_machine()
        self._kernels: dict[str, Kernel] = {}

    @classmethod
    def from_source(
        cls,
        path: Path,
        *,
        options: tuple[str, ...] = (),
        include: tuple[Path, ...] = (),
        target: Target | None = None,
    ) -> Module:
        """Compile a .cu file.

        Parameters
        ----------
        path
            The file.
        options
            Options for the compiler, such as ``-DTILE=32``.
        include
            Folders of headers.
        target
            The processor to run on; default: this machine.

        Raises
        ------
        CompileError
            With the compiler's first message.
        """
        text = compile_to_ptx(path, options=options, include=include)
        return cls(ptx.parse(text), target=target, digest=digest_of(text))

    @classmethod
    def from_ptx(cls, text: str, *, target: Target | None = None) -> Module:
        """Read PTX; the body of a kernel is read when it is launched.

        Raises
        ------
        CompileError
            If the text cannot be read.
        """
        return cls(ptx.parse(text), target=target)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the kernels."""
        return tuple(self._parsed.kernels)

    def kernel(self, name: str) -> Kernel:
        """Return a kernel by its name, as the PTX spells it."""
        if name not in self._kernels:
            if name not in self._parsed.kernels:
                raise CompileError(nearest("kernel", name, self._parsed.kernels))
            self._kernels[name] = Kernel(self._parsed, name, self._memory, self._target, self._digest)
        return self._kernels[name]


class Kernel:
    """A kernel of a module; it is read and compiled when first launched in a mode.

    Attributes
    ----------
    name
        The name of the kernel in the source.
    """

    def __init__(self, module: ptx.Module, name: str, memory: ModuleMemory, target: Target, digest: str) -> None:
        self.name = name
        self._module, self._memory, self._target, self._digest = module, memory, target, digest
        self._programs: dict[str, Program] = {}

    def program(self, mode: str) -> Program:
        """Return the kernel compiled for a mode.

        Raises
        ------
        CompileError
            If its body cannot be read, or there is no compiler for the functions that kernels call.
        UnsupportedInstruction
            At the first instruction that is not simulated.
        """
        if mode not in _RUN:
            raise LaunchError(f"mode is one of {', '.join(map(repr, _RUN))}, not {mode!r}.")
        if mode not in self._programs:
            prepared = prepare(
                self._module,
                self.name,
                self._memory,
                checked=mode == "checked",
                native=self._target.native,
                digest=self._digest,
                folder=KERNELS,
            )
            self._programs[mode] = Program(prepared, self._memory, self._target)
        return self._programs[mode]

    def launch(
        self,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        args: Sequence[object],
        *,
        shared: int = 0,
        mode: str = "fast",
        order: str | int = "ascending",
        unwritten: Sequence[int] = (),
    ) -> Launch:
        """Run the kernel; arrays are changed in place.

        Parameters
        ----------
        grid, block
            One to three dimensions.
        args
            One per parameter: arrays, numpy scalars, or Python numbers, cast to the parameter's type.
        shared
            Bytes of dynamic shared memory.
        mode
            ``"fast"`` finds accesses outside the device's memory; ``"checked"`` finds and counts all the simulator can.
        order
            In which blocks, and the warps in a block, take their turn: ``"ascending"``, ``"descending"`` or a seed.
        unwritten
            Numbers of the arguments that are uninitialised before the launch.

        Raises
        ------
        CompileError
            If the kernel's body cannot be read, or there is no compiler for the functions that kernels call.
        LaunchError
            For a grid, a block, shared memory or arguments that CUDA would refuse.
        UnsupportedInstruction
            If the kernel has an instruction that is not simulated.
        """
        request = Request(three(grid, "grid"), three(block, "block"), tuple(args), shared, order, frozenset(unwritten))
        return _RUN[mode if mode in _RUN else "fast"](self.program(mode), request)
