"""LLVM IR to machine code, with a cache of objects on disk.

Kernels are compiled at optimisation level 0: once, to be run on small problems, and their vectors are explicit already. The
functions that all kernels call (`simulator.codegen.moves`) are few and small, and get level 2.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import llvmlite
import llvmlite.binding as llvm

from simulator.codegen.calls import BINARY, UNARY
from simulator.files import read_sealed, write_sealed
from simulator.interface.warp_state import FUNCTIONS
from simulator.native.library import library

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["CompiledCode", "Target", "compile_texts"]

_MASKED_MEMORY = ("avx512f", "avx512bw", "avx512dq", "avx512vl")
_KERNEL_LEVEL, _HELPER_LEVEL = 0, 2
_keep_alive: list[object] = []


@dataclass(frozen=True, slots=True)
class Target:
    """The processor to generate code for.

    Parameters
    ----------
    cpu
        LLVM's name of it.
    features
        LLVM's list of its features, such as ``+avx2,-avx512f``; empty for the features that the name implies.
    native
        Masked gathers, scatters and stores are instructions there.
    """

    cpu: str
    features: str
    native: bool

    @classmethod
    def this_machine(cls) -> Target:
        """Return the machine this runs on."""
        features = llvm.get_host_cpu_features()
        native = all(features.get(name) for name in _MASKED_MEMORY)
        return cls(llvm.get_host_cpu_name(), features.flatten(), native)

    @classmethod
    def named(cls, cpu: str) -> Target:
        """Return a processor without AVX-512, such as ``haswell``."""
        return cls(cpu, "", native=False)


class CompiledCode:
    """A kernel's machine code, valid while this lives.

    Attributes
    ----------
    functions
        The addresses of the basic blocks' functions.
    """

    def __init__(self, engine: llvm.ExecutionEngine, blocks: int) -> None:
        self._engine = engine
        self.functions = list((ctypes.c_int64 * blocks).from_address(engine.get_global_value_address(FUNCTIONS)))


@cache
def _start_llvm() -> None:
    """Set LLVM up and register the functions that kernels call: the native library and the functions of libm."""
    library()
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    for name in UNARY + BINARY:
        llvm.add_symbol(f"libm_{name}", _libm_function(libm, name))


def _libm_function(library: ctypes.CDLL, name: str) -> int:
    """Return the address of a C function of doubles; Python's function replaces one that the library lacks."""
    function = getattr(library, name, None)
    if function is None:
        fallback: Callable[..., float] = getattr(math, name, lambda x: 10.0**x)
        kinds = [ctypes.c_double] * (2 if name in BINARY else 1)
        function = ctypes.CFUNCTYPE(ctypes.c_double, *kinds)(fallback)
        _keep_alive.append(function)
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _machine(target: Target, level: int) -> llvm.TargetMachine:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, jit=True
    )


def _object_of(digest: str, text: Callable[[], str], target: Target, level: int, folder: Path) -> bytes:
    """Return the object code of the LLVM IR that has this digest, compiled unless the cache has it."""
    version = f"{llvmlite.__version__} {llvm.llvm_version_info}"
    key = hashlib.sha256(f"{version}\0{target.cpu}\0{target.features}\0{level}\0{digest}".encode()).hexdigest()
    path = folder / f"{key[:32]}.sealed.o"
    if (cached := read_sealed(path)) is not None:
        return cached
    module = llvm.parse_assembly(text())
    module.verify()
    code: bytes = _machine(target, level).emit_object(module)
    with suppress(OSError):  # a cache that cannot be written is no reason to stop
        write_sealed(path, code)
    return code


def _one_of(texts: Callable[[], Sequence[str]], number: int) -> str:
    return texts()[number]


def compile_texts(
    digests: Sequence[str], texts: Callable[[], Sequence[str]], target: Target, folder: Path, *, blocks: int
) -> CompiledCode:
    """Return machine code for a translated kernel, from the cache in `folder` where it is there.

    Parameters
    ----------
    digests
        SHA-256 of each text of the kernel's LLVM IR.
    texts
        Returns the texts; called only if the cache lacks one of them.
    target
        The processor to compile for.
    folder
        The cache of objects.
    blocks
        The number of basic blocks of the kernel.
    """
    _start_llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(target, _KERNEL_LEVEL))
    for number, digest in enumerate(digests):
        level = _HELPER_LEVEL if number else _KERNEL_LEVEL
        code = _object_of(digest, partial(_one_of, texts, number), target, level, folder)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return CompiledCode(engine, blocks)
