"""What a checked launch counted, by line of the source and in total.

PTX is not what a GPU runs: its assembler merges accesses, so requests are upper bounds. Predicated instructions count for
all lanes that reach them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from simulator.clang import BUILTINS
from simulator.codegen.layout import LANES
from simulator.codegen.tensor_core import matrix_shape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from simulator.ptx.model import Instruction, Kernel

__all__ = ["Counters", "LineCounters", "count_lines"]

_TWO_FLOPS = {"fma", "mad"}
_ONE_FLOP = {"add", "sub", "mul", "div", "min", "max", "sqrt", "rsqrt", "rcp", "ex2", "lg2", "sin", "cos", "tanh", "abs", "neg"}
_FLOAT_TYPES = {"f16", "bf16", "f32", "f64", "f16x2", "bf16x2"}
_ACCESSES = {"ld", "ldu", "st", "ldmatrix", "atom", "red", "cp"}
_STORES = {"st", "red", "atom", "cp"}
_LOADS = {"ld", "ldu", "ldmatrix", "atom", "red", "cp"}


@dataclass(slots=True)
class LineCounters:
    """Counts of one line, or of all.

    Parameters
    ----------
    instructions, active_lanes
        Warp instructions, and the lanes that took part in them.
    requests, sectors, ideal_sectors
        Accesses of a warp to global or local memory, the 32-byte sectors they touch, and the fewest that would do.
    shared_requests, wavefronts, bank_conflicts
        Accesses of a warp to shared memory, the turns they take, and the turns beyond those without conflicts.
    bytes_loaded, bytes_stored
        Over all lanes.
    flops
        Floating-point operations by type; ``"bf16 mma"`` and the like are the tensor core's.
    """

    instructions: int = 0
    active_lanes: int = 0
    requests: int = 0
    sectors: int = 0
    ideal_sectors: int = 0
    shared_requests: int = 0
    wavefronts: int = 0
    bank_conflicts: int = 0
    bytes_loaded: int = 0
    bytes_stored: int = 0
    flops: Counter[str] = field(default_factory=Counter)

    @property
    def sectors_per_request(self) -> float:
        """Return the sectors an average request touches; 4 is a whole warp of floats in line."""
        return self.sectors / self.requests if self.requests else 0.0

    def add(self, other: LineCounters) -> None:
        """Add the counts of another line, or of the same one in another launch."""
        for part in fields(self):
            if part.name == "flops":
                self.flops.update(other.flops)
            else:
                setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))

    def _add_accesses(self, instruction: Instruction, rows: list[tuple[int, ...]]) -> None:
        """Add an instruction's counts for device memory and those for shared memory."""
        (requests, _, sectors, ideal_sectors, moved), (shared_requests, _, wavefronts, ideal, moved_shared) = rows
        self.requests += requests
        self.sectors += sectors
        self.ideal_sectors += ideal_sectors
        self.shared_requests += shared_requests
        self.wavefronts += wavefronts
        self.bank_conflicts += wavefronts - ideal
        copies = instruction.name == "cp"
        if instruction.name in _LOADS:
            self.bytes_loaded += moved + (0 if copies else moved_shared)
        if instruction.name in _STORES:
            self.bytes_stored += moved_shared + (0 if copies else moved)

    def _add_runs(self, instruction: Instruction, runs: int, lanes: int) -> None:
        self.instructions += runs
        self.active_lanes += lanes
        kind, each = _flops(instruction)
        if each:
            self.flops[kind] += each * lanes


@dataclass(slots=True)
class Counters:
    """Everything a checked launch counted.

    Parameters
    ----------
    lines
        Counts by (path, line).
    total
        Their sum.
    mix
        Warp instructions by opcode without modifiers.
    branches, divergent_branches
        Conditional branches a warp came to, and those at which its lanes parted.
    """

    lines: dict[tuple[str, int], LineCounters] = field(default_factory=dict)
    total: LineCounters = field(default_factory=LineCounters)
    mix: Counter[str] = field(default_factory=Counter)
    branches: int = 0
    divergent_branches: int = 0

    @property
    def branch_efficiency(self) -> float:
        """Return the share of branches at which all lanes went the same way."""
        return 1.0 - self.divergent_branches / self.branches if self.branches else 1.0

    def add(self, other: Counters) -> None:
        """Add what another launch counted."""
        for where, counts in other.lines.items():
            self.lines.setdefault(where, LineCounters()).add(counts)
        self.total.add(other.total)
        self.mix.update(other.mix)
        self.branches += other.branches
        self.divergent_branches += other.divergent_branches


def _line_of(instruction: Instruction) -> tuple[str, int]:
    """Return the innermost line that is the user's, headers of kernels included, the simulator's own left out."""
    own = str(BUILTINS)
    where = next((frame for frame in instruction.frames if frame.path != own), instruction.location)
    return (where.path, where.line) if where else ("", instruction.ptx_line)


def _flops(instruction: Instruction) -> tuple[str, int]:
    """Return the type and the floating-point operations of one lane."""
    if instruction.name == "mma":
        m, n, k = matrix_shape(instruction)
        return f"{instruction.types[-3]} mma", 2 * m * n * k // LANES
    kind = instruction.type
    if kind not in _FLOAT_TYPES:
        return kind, 0
    each = 2 if instruction.name in _TWO_FLOPS else int(instruction.name in _ONE_FLOP)
    return kind.removesuffix("x2"), 2 * each if kind.endswith("x2") else each


def count_lines(kernel: Kernel, runs: npt.NDArray[np.int64], accesses: npt.NDArray[np.void]) -> Counters:
    """Sum up by line: `runs` per basic block (runs, lane runs, divergent branches), `accesses` (`COUNTER`) per instruction."""
    counters = Counters()
    by_instruction = accesses.tolist()
    for block, (times, lanes, divergent) in zip(kernel.blocks, runs.tolist(), strict=True):
        if not times:
            continue
        if block.terminator is not None and len(block.successors) > 1:
            counters.branches += times
            counters.divergent_branches += divergent
        for instruction in block.instructions:
            counters.mix[instruction.name] += times
            line = counters.lines.setdefault(_line_of(instruction), LineCounters())
            line._add_runs(instruction, times, lanes)  # noqa: SLF001 (a class of this file)
            if instruction.name in _ACCESSES:
                line._add_accesses(instruction, by_instruction[instruction.index])  # noqa: SLF001 (a class of this file)
    for line in counters.lines.values():
        counters.total.add(line)
    return counters
