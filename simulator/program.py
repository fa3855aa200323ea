"""A kernel that can run in one mode: its machine code and the layout of its variables."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from simulator.clang import CACHE
from simulator.codegen.compile import compile_texts
from simulator.interface.checker import PATTERN
from simulator.interface.grid import BASIC_BLOCK

if TYPE_CHECKING:
    import numpy.typing as npt

    from simulator.codegen.compile import Target
    from simulator.prepared import Prepared
    from simulator.ptx.model import Kernel
    from simulator.variables import ModuleMemory

__all__ = ["Program"]


class Program:
    """The machine code of a kernel and the arrays that a launch needs.

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
        self._prepared = prepared
        self.facts, self.memory = prepared.facts, memory
        self.code = compile_texts(
            self.facts.digests, lambda: prepared.texts, target, CACHE / "objects", blocks=len(self.facts.blocks)
        )

    @property
    def kernel(self) -> Kernel:
        """Return the kernel; it is loaded only for findings and counters."""
        return self._prepared.kernel

    @property
    def name(self) -> str:
        """Return the kernel's name."""
        return self.facts.signature.name

    @cached_property
    def basic_blocks(self) -> npt.NDArray[np.void]:
        """Return the basic blocks as the dispatcher reads them."""
        blocks = np.zeros(len(self.facts.blocks), BASIC_BLOCK)
        blocks["function"] = self.code.functions
        blocks["taken"], blocks["others"], blocks["priority"] = np.array(self.facts.blocks).T
        blocks["at_priority"][blocks["priority"]] = np.arange(len(blocks))
        return blocks

    @cached_property
    def block_lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of instructions in each basic block."""
        return np.array(self.facts.block_lengths)

    @cached_property
    def patterns(self) -> npt.NDArray[np.void]:
        """Return the patterns of the kernel's accesses, which the checker keeps from launch to launch."""
        return np.zeros((self.facts.instructions, 2), PATTERN)
