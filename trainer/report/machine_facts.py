"""The facts about the machine in a training report: peak memory of the process, and peak speed of the CPU."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

from registry.enums import Device

if TYPE_CHECKING:
    from registry.records import Store

__all__ = ["peak_gflops", "peak_rss_mib"]

STATUS = Path("/proc/self/status")
KIB_PER_MIB = 1024


def peak_rss_mib() -> float:
    """Return the peak memory of this process in RAM, in MiB."""
    if STATUS.exists():
        # getrusage also counts the memory of the parent at the start of this process, so /proc comes first.
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / KIB_PER_MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def peak_gflops(store: Store, threads: int, device: Device) -> float | None:
    """Return the multiply-add peak from the newest CPU race with this number of threads on this machine.

    None if there was no such race, or if the program does not run on the CPU, whose peak says nothing about a GPU.
    """
    if device != Device.CPU:
        return None
    raced = [run for run in store.runs() if run.threads == threads and run.device == device]
    peaks = [run.roofline["gflops"] for run in raced if "gflops" in run.roofline]
    return peaks[-1] if peaks else None
