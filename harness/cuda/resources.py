"""The resources that a compiled kernel takes of a multiprocessor, and the occupancy that follows from them.

Registers, spills and shared memory are read from the assembler's log, block sizes from ``__launch_bounds__``.

Source of the limits: NVIDIA, CUDA C++ Programming Guide (13), table "Technical Specifications per Compute Capability", and
its sections on compute capability 8.x and 9.0 (the system reserves 1 KiB of shared memory in each block). Source of the units
of allocation: ``cuda_occupancy.h`` of the CUDA toolkit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import UnknownNameError

if TYPE_CHECKING:
    from harness.cuda.nvrtc import Compiled

__all__ = ["LIMITS", "Limits", "Resources", "occupancy", "read_resources"]

WARP = 32
USUAL_THREADS = 256  # block size of a kernel without launch bounds
REGISTER_UNIT = 256  # unit in which registers are allocated to a warp
SHARED_UNIT = 128  # bytes, unit in which shared memory is allocated to a block
SHARED_BY_SYSTEM = 1024  # bytes that the system reserves in each block


@dataclass(frozen=True)
class Limits:
    """The resources of a multiprocessor."""

    threads: int
    blocks: int
    registers: int
    shared: int


LIMITS = {
    "sm_80": Limits(threads=2048, blocks=32, registers=65536, shared=164 * 1024),
    "sm_90": Limits(threads=2048, blocks=32, registers=65536, shared=228 * 1024),
}


@dataclass(frozen=True)
class Resources:
    """The resources that one kernel takes.

    Attributes
    ----------
    registers : int
        Registers per thread.
    spilled : int
        Bytes of registers that a thread stores to memory and loads back.
    stack : int
        Bytes of local memory per thread, spills included.
    shared : int
        Bytes of static shared memory per block.
    threads : int
        Threads of the largest block that ``__launch_bounds__`` allows; 0 without launch bounds.
    """

    kernel: str
    architecture: str
    registers: int
    spilled: int
    stack: int
    shared: int
    threads: int = 0


def read_resources(compiled: Compiled) -> dict[str, Resources]:
    """Return the resources of each kernel of a compiled source, by its name."""
    sections = re.split(r"Compiling entry function '(\w+)'", compiled.log)
    threads = _launch_bounds(compiled.ptx)
    resources = {}
    for name, text in zip(sections[1::2], sections[2::2], strict=True):
        resources[name] = Resources(
            kernel=name,
            architecture=compiled.architecture,
            registers=_number(r"Used (\d+) registers", text),
            spilled=_number(r"(\d+) bytes spill stores", text) + _number(r"(\d+) bytes spill loads", text),
            stack=_number(r"(\d+) bytes stack frame", text),
            shared=_number(r"(\d+) bytes smem", text),
            threads=threads.get(name, 0),
        )
    return resources


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def _launch_bounds(ptx: str) -> dict[str, int]:
    entries = re.findall(r"\.entry (\w+)\([^{]*?\)\s*((?:\.\w+[^\n{]*\n)*)", ptx)
    threads = {}
    for name, directives in entries:
        if bounds := re.search(r"\.maxntid (\d+)(?:, (\d+))?(?:, (\d+))?", directives):
            threads[name] = int(bounds[1]) * int(bounds[2] or 1) * int(bounds[3] or 1)
    return threads


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def occupancy(resources: Resources, *, threads: int = 0, dynamic_shared: int = 0) -> float:
    """Return the share of a multiprocessor's threads that can be resident at once.

    Parameters
    ----------
    resources : Resources
    threads : int
        Threads per block; by default those of the kernel's launch bounds, or 256.
    dynamic_shared : int
        Bytes of dynamic shared memory per block.

    Raises
    ------
    UnknownNameError
        `LIMITS` does not hold the architecture.
    """
    if resources.architecture not in LIMITS:
        raise UnknownNameError("architecture", resources.architecture, LIMITS)
    limits = LIMITS[resources.architecture]
    warps = -(-(threads or resources.threads or USUAL_THREADS) // WARP)
    registers = warps * _up(max(resources.registers, 1) * WARP, REGISTER_UNIT)
    shared = _up(resources.shared + dynamic_shared + SHARED_BY_SYSTEM, SHARED_UNIT)
    blocks = min(limits.blocks, limits.threads // (warps * WARP), limits.registers // registers, limits.shared // shared)
    return blocks * warps * WARP / limits.threads
