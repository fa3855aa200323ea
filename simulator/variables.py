"""The variables of a module: places in the arena, values that outlive launches, and each kernel's shared and local layout."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import CompileError
from simulator.interface.warp_state import ADDRESS_BIAS, VARIABLES, aligned
from simulator.ptx.model import Address, Pair, Symbol, Vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from simulator.codegen.warp_emitter import Place
    from simulator.ptx.model import Kernel, Module, Operand, Variable

__all__ = ["KernelMemory", "ModuleMemory", "lay_out_kernel"]


class ModuleMemory:
    """The global and constant variables of a module; their values stay from launch to launch."""

    def __init__(self, module: Module) -> None:
        self.places: dict[str, Place] = {}
        self.variables = [v for v in module.variables.values() if v.space in {"global", "const"} and v.size]
        end = VARIABLES
        for variable in self.variables:
            end = aligned(end, max(variable.align, 1))
            self.places[variable.name] = (variable.space, end)
            end += variable.size
        self.end = aligned(end, 256)
        self.image = np.zeros(self.end - VARIABLES, np.uint8)
        for variable in self.variables:
            self._initialise(variable)

    def _initialise(self, variable: Variable) -> None:
        start = self.places[variable.name][1] - VARIABLES
        if variable.initial:
            self.image[start : start + len(variable.initial)] = np.frombuffer(variable.initial, np.uint8)
        for offset, symbol in variable.relocations:
            if symbol.name not in self.places:
                raise CompileError(f"variable {variable.name} holds the address of {symbol.name}, which has none here.")
            address = ADDRESS_BIAS + self.places[symbol.name][1] + symbol.offset
            self.image[start + offset : start + offset + 8] = np.frombuffer(struct.pack("<Q", address), np.uint8)

    def copy_into(self, memory: npt.NDArray[np.uint8]) -> None:
        """Copy the values into the memory of a launch."""
        memory[VARIABLES : self.end] = self.image

    def copy_back(self, memory: npt.NDArray[np.uint8]) -> None:
        """Copy the values back from the memory of a launch."""
        self.image[:] = memory[VARIABLES : self.end]


GAP = 256


@dataclass(frozen=True, slots=True)
class KernelMemory:
    """The places of a kernel's variables, and how much shared and local memory it needs.

    Attributes
    ----------
    static_shared
        Bytes of shared memory as a GPU counts them.
    shared
        Start and size of each static shared variable, with gaps between them that belong to none.
    dynamic_start
        Where dynamic shared memory begins.
    """

    places: dict[str, Place]
    static_shared: int
    shared: tuple[tuple[int, int], ...]
    dynamic_start: int
    local: int


def _symbols(operand: Operand) -> Iterator[str]:
    match operand:
        case Symbol():
            yield operand.name
        case Address(base=Symbol() as base):
            yield base.name
        case Vector():
            for item in operand.items:
                yield from _symbols(item)
        case Pair():
            yield from _symbols(operand.first)
            yield from _symbols(operand.second)


def lay_out_kernel(module: Module, kernel: Kernel, memory: ModuleMemory) -> KernelMemory:
    """Give the shared and local variables a kernel uses their offsets; dynamic shared memory follows the static.

    A gap between two shared variables lets the checker find an access that leaves its variable. The gap is a multiple of the
    row of banks, so that bank conflicts do not change.
    """
    used = {name for i in kernel.instructions for operand in i.operands for name in _symbols(operand)}
    places, ends = dict(memory.places), {"shared": 0, "local": 0}
    dynamic: list[Variable] = []
    parts: list[tuple[int, int]] = []
    shared = [v for v in module.variables.values() if v.space == "shared" and v.name in used]
    for variable in [*kernel.variables.values(), *shared]:
        if variable.space not in ends:
            continue
        if not variable.size:
            dynamic.append(variable)
            continue
        start = aligned(ends[variable.space], max(variable.align, 1))
        ends[variable.space] = start + variable.size
        if variable.space == "shared":
            start += GAP * len(parts)
            parts.append((start, variable.size))
        places[variable.name] = (variable.space, start)
    static = aligned(ends["shared"], max([16, *(v.align for v in dynamic)])) if dynamic else ends["shared"]
    beyond = static + GAP * len(parts)
    places |= {variable.name: ("shared", beyond) for variable in dynamic}
    return KernelMemory(places, static, tuple(parts), beyond, ends["local"])
