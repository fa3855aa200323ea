"""What a compiled kernel takes of a multiprocessor, and how many of its threads can be resident: occupancy.

Registers, spills and shared memory are read from the assembler's log, block sizes from ``__launch_bounds__``.

Source of the limits: NVIDIA, CUDA C++ Programming Guide (13), table "Technical Specifications per Compute Capability", and
its sections on compute capability 8.x and 9.0 (1 KiB of shared memory in each block is the system's); the units of
allocation are those of ``cuda_occupancy.h`` in the CUDA toolkit.
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
USUAL_THREADS = 256  # assumed of a kernel that does not say how large its blocks are
REGISTER_UNIT = 256  # registers are given to a warp in this many
SHARED_UNIT = 128  # bytes
SHARED_BY_SYSTEM = 1024  # bytes of each block


@dataclass(frozen=True)
class Limits:
    """What a multiprocessor has."""

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
    """What one kernel takes.

    Attributes
    ----------
    registers : int
        Of a thread.
    spilled : int
        Bytes of registers that a thread stores to memory and loads back.
    stack : int
        Bytes of local memory of a thread, spills included.
    shared : int
        Bytes of static shared memory of a block.
    threads : int
        Largest block, by ``__launch_bounds__``; 0 if the kernel does not say.
    """

    kernel: str
    architecture: str
    registers: int
    spilled: int
    stack: int
    shared: int
    threads: int = 0


def read_resources(compiled: Compiled) -> dict[str, Resources]:
    """Return what each kernel of a compiled source takes, by name."""
    blocks = re.split(r"Compiling entry function '(\w+)'", compiled.log)
    threads = _launch_bounds(compiled.ptx)
    found = {}
    for name, text in zip(blocks[1::2], blocks[2::2], strict=True):
        found[name] = Resources(
            kernel=name,
            architecture=compiled.architecture,
            registers=_number(r"Used (\d+) registers", text),
            spilled=_number(r"(\d+) bytes spill stores", text) + _number(r"(\d+) bytes spill loads", text),
            stack=_number(r"(\d+) bytes stack frame", text),
            shared=_number(r"(\d+) bytes smem", text),
            threads=threads.get(name, 0),
        )
    return found


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def _launch_bounds(ptx: str) -> dict[str, int]:
    entries = re.findall(r"\.entry (\w+)\([^{]*?\)\s*((?:\.\w+[^\n{]*\n)*)", ptx)
    found = {}
    for name, directives in entries:
        if bounds := re.search(r"\.maxntid (\d+)(?:, (\d+))?(?:, (\d+))?", directives):
            found[name] = int(bounds[1]) * int(bounds[2] or 1) * int(bounds[3] or 1)
    return found


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def occupancy(resources: Resources, *, threads: int = 0, dynamic_shared: int = 0) -> float:
    """Return the share of a multiprocessor's threads that can be resident at once.

    Parameters
    ----------
    resources : Resources
    threads : int
        Of a block; by default what the kernel's launch bounds say, or 256.
    dynamic_shared : int
        Bytes that the launch asks for.

    Raises
    ------
    UnknownNameError
        The limits of the architecture are not known.
    """
    if resources.architecture not in LIMITS:
        raise UnknownNameError("architecture", resources.architecture, LIMITS)
    limits = LIMITS[resources.architecture]
    warps = -(-(threads or resources.threads or USUAL_THREADS) // WARP)
    registers = warps * _up(max(resources.registers, 1) * WARP, REGISTER_UNIT)
    shared = _up(resources.shared + dynamic_shared + SHARED_BY_SYSTEM, SHARED_UNIT)
    blocks = min(limits.blocks, limits.threads // (warps * WARP), limits.registers // registers, limits.shared // shared)
    return blocks * warps * WARP / limits.threads
