"""Make MKL use its AVX-512 code on processors of other makers than Intel, where MKL uses its AVX2 code by default.

MKL calls its own function ``mkl_serv_intel_cpu_true`` to find out whether Intel made the processor. torch exports MKL's
functions from a shared library, so a preloaded library can replace this function. The first line that MKL prints under
``MKL_VERBOSE=1`` names the instructions that it uses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import CrucibleError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LIBRARY", "build", "instructions", "obstacle", "preloaded"]

LIBRARY = "libcrucible_mkl_avx512.so"
SOURCE = "int mkl_serv_intel_cpu_true(void) {{ return {result}; }}\n"
COMPILERS = ("cc", "gcc", "clang")
CPUINFO = Path("/proc/cpuinfo")
FLAG, NAME = "avx512f", "AVX-512"  # the names that Linux and MKL give to the instruction set
VERBOSE, PRODUCT = "MKL_VERBOSE ", " oneMKL "
PRODUCT_OF_TWO_MATRICES = "import torch; a = torch.ones(64, 64); a @ a"


def build(folder: Path, result: int = 1) -> Path:
    """Compile the library into `folder` with the system's C compiler and return its path.

    Parameters
    ----------
    result : int
        The return value of ``mkl_serv_intel_cpu_true``.

    Raises
    ------
    CrucibleError
        No C compiler is installed, or the compiler failed.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise CrucibleError(f"no C compiler ({', '.join(COMPILERS)}) is installed to build the preloaded library with")
    library = folder / LIBRARY
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    done = subprocess.run(command, input=SOURCE.format(result=result), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CrucibleError(f"{compiler} cannot build the preloaded library: {last}")
    return library


def preloaded(library: Path) -> dict[str, str]:
    """Return the environment variable that preloads `library`, before the libraries that the user preloads."""
    return {"LD_PRELOAD": os.pathsep.join(filter(None, [str(library), os.environ.get("LD_PRELOAD", "")]))}


def instructions(environment: Mapping[str, str] | None = None) -> str:
    """Return MKL's description of the instructions that it uses in a process with torch; "" if torch's BLAS is not MKL.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Environment variables of the process, in addition to the variables of this process.
    """
    done = subprocess.run(
        [sys.executable, "-c", PRODUCT_OF_TWO_MATRICES],
        cwd=ROOT,
        env={**os.environ, **(environment or {}), "MKL_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(VERBOSE) and PRODUCT in line]
    return lines[0].removeprefix(VERBOSE) if lines else ""


def obstacle(folder: Path) -> str:
    """Build the library in `folder` and return why the AVX-512 arms cannot run on this machine; "" if they can."""
    if FLAG not in (CPUINFO.read_text() if CPUINFO.exists() else "").split():
        return "this processor has no AVX-512"
    in_use = instructions()
    if not in_use:
        return "MKL is not torch's BLAS"
    if NAME in in_use:
        return "MKL uses AVX-512 on this processor by itself: the arm would be the same as the one without the library"
    try:
        library = build(folder)
    except CrucibleError as error:
        return str(error)
    forced = instructions(preloaded(library))
    return "" if NAME in forced else f"with the library preloaded MKL still does not use AVX-512, but: {forced or 'no output'}"
