"""A kernel made ready to run in one mode: translated, compiled, its variables laid out."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from simulator.checks.traffic import PATTERN_WORDS
from simulator.clang import CACHE
from simulator.codegen.compile import compile_translation
from simulator.ptx.model import BITS

if TYPE_CHECKING:
    import numpy.typing as npt

    from simulator.codegen.compile import Target
    from simulator.prepared import Prepared
    from simulator.ptx.model import Instruction
    from simulator.runtime.variables import ModuleMemory

__all__ = ["Program"]

_ACCESSES = {"ld", "ldu", "st", "atom", "red"}


class Program:
    """Machine code of a kernel and what a launch needs beside it.

    Parameters
    ----------
    prepared
        The kernel, translated with or without calls of the checker.
    memory
        The module's variables, shared by its kernels.
    target
        The processor to compile for.
    """

    def __init__(self, prepared: Prepared, memory: ModuleMemory, target: Target) -> None:
        self.kernel, self.layout, self.translation = prepared.kernel, prepared.layout, prepared.translation
        self.memory = memory
        self.code = compile_translation(self.translation, target, CACHE / "objects")

    @cached_property
    def block_lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of instructions in each basic block."""
        return np.array([len(block.instructions) for block in self.kernel.blocks])

    @cached_property
    def prints(self) -> bool:
        """Return whether the kernel calls printf."""
        return any(i.name == "call" and "vprintf" in i.text for i in self.kernel.instructions)

    @cached_property
    def copies(self) -> bool:
        """Return whether the kernel has asynchronous copies."""
        return any(instruction.name == "cp" for instruction in self.kernel.instructions)

    @cached_property
    def patterns(self) -> npt.NDArray[np.int64]:
        """Return room for what the checker remembers of the kernel's accesses from launch to launch."""
        return np.zeros((len(self.kernel.instructions), 2, PATTERN_WORDS), np.int64)

    @cached_property
    def narrowest_access(self) -> int:
        """Return the bytes of the narrowest element the kernel reads or writes in device or shared memory, at most 4."""
        return min([4, *(BITS[i.type] // 8 for i in self.kernel.instructions if _is_access(i))])


def _is_access(instruction: Instruction) -> bool:
    return instruction.name in _ACCESSES and instruction.space not in {"param", "local"} and bool(instruction.type)
