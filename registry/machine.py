"""The name of this machine and its library versions: results are kept per machine and never compared across machines.

Results of a GPU are kept under the GPU's name as well, which CuPy reports. No GPU has run this code yet.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from registry.enums import Device

__all__ = ["machine_key", "thread_count", "versions"]

CPUINFO = Path("/proc/cpuinfo")


def thread_count() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _cpu() -> dict[str, str]:
    if not CPUINFO.exists():
        return {"model name": platform.processor() or platform.machine(), "flags": ""}
    pairs = (line.split(":", 1) for line in CPUINFO.read_text().split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _gpu() -> str:
    """Return the name of the current GPU, or "no-gpu", which is the machine of no record, if there is none."""
    if importlib.util.find_spec("cupy") is None:
        return "no-gpu"
    import cupy

    try:
        name: bytes = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    except cupy.cuda.runtime.CUDARuntimeError:
        return "no-gpu"
    return _slug(name.decode())


@cache
def machine_key(device: Device = Device.CPU) -> str:
    """Return a name for this machine: CPU model, family, core count, and a digest of its instruction sets.

    Parameters
    ----------
    device : Device
        With ``cuda`` the name of the GPU comes first.
    """
    cpu = _cpu()
    model = _slug(cpu.get("model name", "cpu"))
    flags = " ".join(sorted(cpu.get("flags", "").split()))
    digest = hashlib.sha256(f"{cpu.get('cpu family')}/{cpu.get('model')}/{flags}".encode()).hexdigest()[:6]
    key = f"{model}-{thread_count()}c-{digest}"
    return f"{_gpu()}-{key}" if device == Device.CUDA else key


@cache
def versions(device: Device = Device.CPU) -> dict[str, str]:
    """Return the versions of the libraries on which a proof or a time depends.

    Parameters
    ----------
    device : Device
        ``cpu`` adds numba. ``sim`` and ``cuda`` add the compiler and ml_dtypes, ``cuda`` also CuPy and CUDA.
    """
    known = {"python": platform.python_version()}
    for package in ("numpy", "llvmlite", *(("numba",) if device == Device.CPU else ("ziglang", "ml_dtypes"))):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "absent"
    if device == Device.CUDA and importlib.util.find_spec("cupy") is not None:
        import cupy

        known |= {"cupy": cupy.__version__, "cuda": str(cupy.cuda.runtime.runtimeGetVersion())}
    return known
