"""Counts of a checked launch, by source line and in total.

A GPU does not execute PTX: its assembler merges accesses, so requests are upper bounds. Predicated instructions count for
all lanes that reach them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

__all__ = ["Counters", "LineCounters"]


@dataclass(slots=True)
class LineCounters:
    """Counts of one line, or of all.

    Parameters
    ----------
    instructions, active_lanes
        Warp instructions, and the lanes that took part in them.
    requests, sectors, ideal_sectors
        Accesses of a warp to global or local memory, the 32-byte sectors they touch, and the fewest possible sectors.
    shared_requests, wavefronts, bank_conflicts
        Accesses of a warp to shared memory, the turns they take, and the additional turns due to conflicts.
    bytes_loaded, bytes_stored
        Over all lanes.
    flops
        Floating-point operations by type; a type such as ``"bf16 mma"`` counts operations of the tensor core.
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
        """Return the mean number of sectors of a request; 4 for a warp that reads consecutive floats."""
        return self.sectors / self.requests if self.requests else 0.0

    def add(self, other: LineCounters) -> None:
        """Add the counts of another line, or of the same line in another launch."""
        for part in fields(self):
            if part.name == "flops":
                self.flops.update(other.flops)
            else:
                setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


@dataclass(slots=True)
class Counters:
    """All counts of a checked launch.

    Parameters
    ----------
    lines
        Counts by (path, line).
    total
        Their sum.
    mix
        Warp instructions by opcode without modifiers.
    branches, divergent_branches
        Conditional branches that a warp executed, and the branches at which its lanes diverged.
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
        """Add the counts of another launch."""
        for where, counts in other.lines.items():
            self.lines.setdefault(where, LineCounters()).add(counts)
        self.total.add(other.total)
        self.mix.update(other.mix)
        self.branches += other.branches
        self.divergent_branches += other.divergent_branches
