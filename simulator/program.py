"""A kernel made ready to run in one mode: translated, compiled, its variables laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.clang import CACHE
from simulator.codegen.compile import compile_translation
from simulator.codegen.translate import translate
from simulator.runtime.variables import lay_out_kernel

if TYPE_CHECKING:
    from simulator.codegen.compile import Target
    from simulator.ptx.model import Kernel, Module
    from simulator.runtime.variables import ModuleMemory

__all__ = ["Program"]


class Program:
    """Machine code of a kernel and what a launch needs beside it.

    Parameters
    ----------
    module, kernel
        What the parser made.
    memory
        The module's variables, shared by its kernels.
    target
        The processor to compile for.
    checked
        With calls of the checker.
    """

    def __init__(self, module: Module, kernel: Kernel, memory: ModuleMemory, target: Target, *, checked: bool) -> None:
        layout = lay_out_kernel(module, kernel, memory)
        self.kernel, self.memory = kernel, memory
        self.static_shared, self.local_bytes = layout.static_shared, layout.local
        self.translation = translate(kernel, layout.places, checked=checked, native=target.native)
        self.code = compile_translation(self.translation, target, CACHE / "objects")
