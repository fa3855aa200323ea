"""CUDA C++ to PTX by clang, without NVIDIA's software; results are cached on disk.

The compiler is the one in the ziglang wheel, or a clang on the PATH that has the NVPTX target.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from simulator.errors import CompileError
from simulator.files import read_and_mark, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BUILTINS", "CACHE", "compile_to_ptx"]

BUILTINS = Path(__file__).resolve().with_name("clang_builtins.cuh")
CACHE = Path(__file__).resolve().parents[1] / ".cache" / "simulator"

_OLDEST_CLANG = 18
_FLAGS = (
    *("-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=sm_80", "-nocudainc", "-nocudalib", "-nostdlibinc"),
    *("-O3", "-S", "-gline-directives-only", "-std=c++17", "-fdeclspec", "-ffp-contract=fast"),
    *("-Xclang", "-target-feature", "-Xclang", "+ptx80", "-Wno-unknown-cuda-version", "-w"),
    *("-fno-color-diagnostics", "-fno-caret-diagnostics"),
    "-fdebug-compilation-dir=/",  # paths in the PTX stay absolute: clang shortens paths below this folder
)
_ERROR = re.compile(r"^(?P<path>.+?):(?P<line>\d+):\d+: (?:fatal )?error: (?P<message>.+)$", re.MULTILINE)
_DEPENDENCY = re.compile(r"(?:\\ |\\#|\$\$|[^\s\\])+")


class Compiler(NamedTuple):
    """A clang: the words that start it, and its version."""

    command: tuple[str, ...]
    version: str


def compile_to_ptx(
    source: Path, *, options: Sequence[str] = (), include: Sequence[Path] = (), cache: Path | None = CACHE
) -> str:
    """Return the PTX of a .cu file.

    Parameters
    ----------
    source
        The file; findings name its path.
    options
        Further arguments for clang, such as ``-DTILE=32``.
    include
        Folders for ``#include "..."``, searched behind the source's own.
    cache
        The folder of cached results; None compiles in any case. A result is used again while the source, every header it read,
        the options and the compiler are the same.

    Raises
    ------
    CompileError
        The first error of the compiler with its place and the line of code, or there is no compiler.
    """
    source = Path(source).resolve()
    clang = compiler()
    arguments = (
        *_FLAGS,
        *options,
        *(f"-I{Path(folder).resolve()}" for folder in include),
        "-include",
        str(BUILTINS),
        str(source),
    )
    if cache is None:
        return _run(clang, arguments, source)[0]
    key = hashlib.sha256("\0".join((clang.version, *arguments)).encode()).hexdigest()
    entry = Path(cache) / "ptx" / f"{key}.json"
    cached = _cached(entry)
    if cached is not None:
        return cached
    began = time.time_ns()
    ptx, read = _run(clang, arguments, source)
    if all(path.stat().st_mtime_ns < began for path in read):  # else a file changed after the compiler had read it
        entry_data = {"read": {str(path): _digest(path) for path in read}, "ptx": ptx}
        write_atomically(entry, json.dumps(entry_data).encode())
    return ptx


@functools.cache
def compiler() -> Compiler:
    """Return the compiler to use: ziglang's if it is installed, else the PATH's."""
    if importlib.util.find_spec("ziglang") is not None:
        return Compiler((sys.executable, "-m", "ziglang", "clang"), f"ziglang {importlib.metadata.version('ziglang')}")
    clang = shutil.which("clang")
    version = _output_of(clang, "--version") if clang else ""
    major = re.search(r"clang version (\d+)", version)
    if clang and major and int(major[1]) >= _OLDEST_CLANG and "nvptx64" in _output_of(clang, "--print-targets"):
        return Compiler((clang,), version)
    raise CompileError(
        f"no compiler for CUDA: install the ziglang wheel, or put a clang >= {_OLDEST_CLANG} with the NVPTX target on the PATH."
    )


def _output_of(program: str, option: str) -> str:
    return subprocess.run([program, option], capture_output=True, text=True, check=False).stdout


def _run(clang: Compiler, arguments: Sequence[str], source: Path) -> tuple[str, list[Path]]:
    """Compile; return the PTX and the files that were read."""
    if not source.is_file():
        raise CompileError(f"no such file: {source}")
    with tempfile.TemporaryDirectory() as folder:
        output, dependencies = Path(folder, "out.ptx"), Path(folder, "out.d")
        command = [*clang.command, *arguments, "-MD", "-MF", str(dependencies), "-o", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(_first_error(done.stderr))
        return output.read_text(), _files_of(dependencies.read_text())


def _first_error(diagnostics: str) -> str:
    """Return ``file.cu:3: message: `code` `` for the compiler's first error."""
    error = _ERROR.search(diagnostics)
    if error is None:
        return next(
            (line for line in diagnostics.splitlines() if "error" in line), diagnostics.strip() or "the compiler failed"
        )
    path, number = Path(error["path"]), int(error["line"])
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    code = f": `{lines[number - 1].strip()}`" if number <= len(lines) else ""
    return f"{path.name}:{number}: {error['message']}{code}"


def _files_of(rule: str) -> list[Path]:
    r"""Return the files of a dependency rule as make reads it: ``out: a.cu b\ c.cuh``."""
    _, _, files = rule.partition(": ")
    names = _DEPENDENCY.findall(files.replace("\\\n", " "))
    return [Path(re.sub(r"\\([ #])", r"\1", name).replace("$$", "$")) for name in names]


def _cached(entry: Path) -> str | None:
    """Return the PTX of a cache entry if none of its source files has changed."""
    try:
        cached = json.loads(read_and_mark(entry))
        fresh = all(_digest(Path(path)) == digest for path, digest in cached["read"].items())
        return str(cached["ptx"]) if fresh else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
