"""What a kernel's counters say to its author: one line for each thing that stands out, with the line of code it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator import Counters

__all__ = ["advice"]

NOTABLE = 0.05  # of all traffic, or of all instructions: smaller things are left alone
WASTEFUL = 1.5  # sectors touched over the fewest that would do
CROWDED = 1.25  # turns of shared memory over those without conflicts
LAZY = 0.75  # of the lanes
STRAYING = 0.9  # of the branches
WARP, WORD, SECTOR = 32, 4, 32
REREAD = 4.0  # bytes asked for over bytes that the op has to move
MOSTLY = 0.5


def _where(path: str, line: int) -> str:
    return f"{path.rpartition('/')[2]}:{line}"


def _of_lines(counters: Counters) -> Iterator[str]:
    total = counters.total
    for (path, line), found in sorted(counters.lines.items()):
        where = _where(path, line)
        if found.sectors > NOTABLE * total.sectors and found.sectors > WASTEFUL * max(found.ideal_sectors, 1):
            yield (
                f"{where}: {found.sectors_per_request:.1f} sectors a request where {found.ideal_sectors / found.requests:.1f} "
                "would do: let neighbouring lanes touch neighbouring addresses, or pass the data through shared memory"
            )
        free = found.wavefronts - found.bank_conflicts
        if found.wavefronts > NOTABLE * total.wavefronts and found.wavefronts > CROWDED * max(free, 1):
            yield (
                f"{where}: {found.wavefronts / max(free, 1):.1f} times the turns of shared memory: lanes of a warp meet in the "
                "same bank; pad the row by a word, or swizzle it"
            )
        lanes = found.active_lanes / (WARP * found.instructions) if found.instructions else 1.0
        if found.instructions > NOTABLE * total.instructions and lanes < LAZY:
            yield f"{where}: {lanes:.0%} of the lanes work: the others stand aside, or have ended"


def advice(counters: Counters, compulsory: float) -> list[str]:
    """Return what to look at, most of it by line of the source.

    Parameters
    ----------
    counters : simulator.Counters
        Of one or several checked launches together.
    compulsory : float
        Bytes that the op has to move: each argument once.
    """
    found = list(_of_lines(counters))
    total = counters.total
    whole = WARP * WORD // SECTOR  # sectors of a request for four bytes a lane
    narrow = sum(line.sectors for line in counters.lines.values() if line.requests and line.sectors <= whole * line.requests)
    if total.sectors and narrow > MOSTLY * total.sectors:
        found.append(
            f"{narrow / total.sectors:.0%} of the traffic moves 4 bytes or less for each lane: 128-bit loads and stores need a "
            "quarter of the requests"
        )
    asked = total.sectors * SECTOR
    if compulsory and asked > REREAD * compulsory:
        found.append(
            f"global memory is asked for {asked / compulsory:.1f} times the bytes that the op has to move: keep what is read "
            "again in shared memory or registers (a cache may help, the counters do not know it)"
        )
    if counters.branch_efficiency < STRAYING:
        found.append(f"the lanes of a warp part at {1 - counters.branch_efficiency:.0%} of the branches")
    return found
