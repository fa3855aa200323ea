"""What the trainer reports about the machine: memory in use, and the peak that its speed is a share of."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

from registry.devices import Cpu

if TYPE_CHECKING:
    from registry.records import Store

__all__ = ["peak_gflops", "peak_rss_mib"]

STATUS = Path("/proc/self/status")
KIB_PER_MIB = 1024


def peak_rss_mib() -> float:
    """Return the most memory that this process ever had in RAM."""
    if STATUS.exists():
        # getrusage would count what a parent had in memory when it started this process.
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / KIB_PER_MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def peak_gflops(store: Store, threads: int, device: str) -> float | None:
    """Return the multiply-add peak that the newest race on the CPU with as many threads measured here.

    None if no race did, or if the program does not run on the CPU: the CPU's peak says nothing about a GPU, real or simulated.
    """
    if device != Cpu.name:
        return None
    raced = [run for run in store.runs() if run.threads == threads and run.device == device]
    peaks = [run.roofline["gflops"] for run in raced if "gflops" in run.roofline]
    return peaks[-1] if peaks else None
