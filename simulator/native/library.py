"""The C++ of this folder, compiled by the clang that compiles kernels, cached on disk, and loaded with them."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock

import llvmlite.binding as llvm

from simulator.clang import CACHE, compiler
from simulator.errors import CompileError
from simulator.files import read_sealed, write_sealed
from simulator.native.declarations import declarations

__all__ = ["SUPPORT", "Library", "compiled", "library"]

_FOLDER = Path(__file__).parent
_MAIN = _FOLDER / "native.cpp"
_FLAGS = (
    *("-x", "c++", "-std=c++17", "-O3", "-march=native", "-c"),
    *("-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-stack-protector"),
    *("-fno-strict-aliasing", "-fwrapv", "-ffp-contract=off"),
)
_ONE = Lock()  # kernels call the functions of one library
_MOVERS = tuple(f"{name}_{bits}" for name in ("gather", "scatter") for bits in (8, 16, 32, 64))
SUPPORT = (
    *("queue_lanes", "hold_back"),
    *("check_access", "check_store", "check_copy", "check_copy_groups"),
    *("check_warp_barrier", "check_fence", "check_membership"),
    *("apply_atomic", "match_lanes", "reduce_lanes", "permute_32", "keep_printed", *_MOVERS),
)
"""The functions that generated code calls."""


class Library:
    """The compiled functions; their addresses are valid while this lives."""

    def __init__(self, code: bytes) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)  # all sections close together
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.run_grid = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.address("run_grid"))  # one launch at a time

    def address(self, name: str) -> int:
        """Return where a function begins."""
        return int(self._engine.get_function_address(name))


def library() -> Library:
    """Return the library for this machine, compiled unless a file has it; kernels that are loaded later may call it.

    Raises
    ------
    CompileError
        There is no compiler.
    """
    with _ONE:
        return _library()


@cache
def _library() -> Library:
    loaded = Library(_object())
    for name in SUPPORT:
        llvm.add_symbol(name, loaded.address(name))
    return loaded


def _object() -> bytes:
    texts = [path.read_text() for path in sorted(_FOLDER.glob("*.[ch]pp"))]
    cpu = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    key = hashlib.sha256("\0".join((compiler().version, *_FLAGS, *cpu, declarations(), *texts)).encode()).hexdigest()
    path = CACHE / "objects" / f"native-{key[:32]}.o"
    code = read_sealed(path)
    if code is None:
        code = compiled()
        with suppress(OSError):  # a cache that cannot be written is no reason to stop
            write_sealed(path, code)
    return code


def compiled(*options: str) -> bytes:
    """Return the library's object code, compiled now.

    Parameters
    ----------
    *options
        Further arguments for the compiler.

    Raises
    ------
    CompileError
        The message of the compiler, or there is no compiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        header, output = Path(folder, "shared.hpp"), Path(folder, "native.o")
        header.write_text(declarations())
        command = (*compiler().command, *_FLAGS, *options, "-include", str(header), "-o", str(output), str(_MAIN))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(f"the simulator's own {_MAIN.name} does not compile: {done.stderr.strip()}")
        return output.read_bytes()
