"""Which machine this is: results are kept per machine and never compared across machines."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine_key", "thread_count", "versions"]

CPUINFO = Path("/proc/cpuinfo")


def thread_count() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def _cpu() -> dict[str, str]:
    if not CPUINFO.exists():
        return {"model name": platform.processor() or platform.machine(), "flags": ""}
    pairs = (line.split(":", 1) for line in CPUINFO.read_text().split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


@cache
def machine_key() -> str:
    """Return a name for this machine: CPU model, family, core count, and a digest of its instruction sets."""
    cpu = _cpu()
    model = re.sub(r"[^a-z0-9]+", "-", cpu.get("model name", "cpu").lower()).strip("-")
    flags = " ".join(sorted(cpu.get("flags", "").split()))
    digest = hashlib.sha256(f"{cpu.get('cpu family')}/{cpu.get('model')}/{flags}".encode()).hexdigest()[:6]
    return f"{model}-{thread_count()}c-{digest}"


@cache
def versions() -> dict[str, str]:
    """Return the versions that a proof or a time depends on."""
    found = {"python": platform.python_version()}
    for package in ("numpy", "numba", "llvmlite"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
