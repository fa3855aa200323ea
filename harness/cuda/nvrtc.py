"""NVIDIA's runtime compiler NVRTC, called through ctypes: it compiles CUDA C++ to PTX and machine code, without a GPU.

The library comes with the optional wheel ``nvidia-cuda-nvrtc``; without it, `unavailable` returns the reason. Results are
cached on disk, under a hash of the source, the headers, the options and the version of the compiler.

Source: NVIDIA, NVRTC (documentation of CUDA 13), sections 3 (user interface) and 4 (options).
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from registry.cuda import INCLUDE
from registry.errors import CrucibleError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Compiled", "NvrtcError", "compile_cuda", "unavailable", "version"]

CACHE = ROOT / ".cache" / "nvrtc"
OPTIONS = ("-std=c++17", "-default-device", "--ptxas-options=-v")


class NvrtcError(CrucibleError):
    """The compiler is missing or refused the source."""


@dataclass(frozen=True)
class Compiled:
    """The result of compiling one source file.

    Attributes
    ----------
    ptx : str
        The code before the assembler.
    log : str
        The output of compiler and assembler: warnings, and the resources of each kernel.
    """

    architecture: str
    ptx: str
    log: str


def _libraries() -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    return sorted(p for root in roots for p in root.glob("*/lib/libnvrtc.so.*"))


def unavailable() -> str:
    """Return the reason why NVRTC cannot be used; "" if it can."""
    if not _libraries():
        return "NVRTC is not available: pip install 'nvidia-cuda-nvrtc>=13.3' (Linux and Windows only, no GPU needed)"
    try:
        _library()
    except OSError as error:
        return f"NVRTC is not available: {error}"
    return ""


@cache
def _library() -> ctypes.CDLL:
    if not (paths := _libraries()):
        raise NvrtcError(unavailable())
    library = ctypes.CDLL(str(paths[-1]))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def _call(name: str, *arguments: object) -> None:
    library = _library()
    if code := getattr(library, name)(*arguments):
        raise NvrtcError(f"{name}: {library.nvrtcGetErrorString(code).decode()}")


@cache
def version() -> tuple[int, int]:
    """Return the CUDA version of the compiler."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compile_cuda(source: Path, architecture: str, *, options: Sequence[str] = (), include: Path = INCLUDE) -> Compiled:
    """Compile a ``.cu`` file for a real architecture, such as ``"sm_90"``.

    Parameters
    ----------
    source : Path
    architecture : str
    options : sequence of str
        More options of the compiler, such as ``"-DD=64"``.
    include : Path
        Folder of the device headers.

    Raises
    ------
    NvrtcError
        NVRTC is missing, or the source does not compile; the message is the compiler's log.
    """
    text = source.read_text()
    flags = (f"--gpu-architecture={architecture}", *OPTIONS, *options)
    kept = CACHE / f"{_key(text, flags, include)}.json"
    if kept.exists():
        return Compiled(**json.loads(kept.read_text()))
    compiled = _compile(text, source.name, architecture, (*flags, f"-I{include}"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    scratch = kept.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps(asdict(compiled)))
    scratch.replace(kept)
    return compiled


def _key(text: str, flags: Sequence[str], include: Path) -> str:
    headers = {p.name: p.read_text() for p in sorted(include.glob("*.cuh"))}
    return hashlib.sha256(json.dumps([text, list(flags), headers, version()]).encode()).hexdigest()[:32]


def _compile(text: str, name: str, architecture: str, flags: Sequence[str]) -> Compiled:
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
    try:
        arguments = (ctypes.c_char_p * len(flags))(*(f.encode() for f in flags))
        try:
            _call("nvrtcCompileProgram", program, len(flags), arguments)
        except NvrtcError as error:
            raise NvrtcError(f"{name} for {architecture}: {error}\n{_text(program, 'ProgramLog')}") from None
        return Compiled(architecture, _text(program, "PTX"), _text(program, "ProgramLog"))
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def _text(program: ctypes.c_void_p, kind: str) -> str:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{kind}Size", program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{kind}", program, buffer)
    return buffer.value.decode()
