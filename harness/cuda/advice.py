"""Advice for the author of a CUDA kernel from the simulator's counters: one message per finding, with the line of code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator import Counters

__all__ = ["advice"]

LEAST_SHARE = 0.05  # of all sectors, wavefronts or instructions: a line with a smaller share gets no message
MOST_SECTORS = 1.5  # sectors over the fewest possible sectors
MOST_WAVEFRONTS = 1.25  # wavefronts of shared memory over the wavefronts without bank conflicts
LEAST_ACTIVE = 0.75  # share of the lanes that are active
LEAST_UNIFORM = 0.9  # share of the branches at which the lanes of a warp agree
WARP, WORD, SECTOR = 32, 4, 32
MOST_REREADING = 4.0  # bytes requested over bytes that the op must move
MOST_NARROW = 0.5  # share of the traffic by requests of 4 bytes or less per lane


def _where(path: str, line: int) -> str:
    return f"{path.rpartition('/')[2]}:{line}"


def _of_lines(counters: Counters) -> Iterator[str]:
    total = counters.total
    for (path, line), counts in sorted(counters.lines.items()):
        where = _where(path, line)
        if counts.sectors > LEAST_SHARE * total.sectors and counts.sectors > MOST_SECTORS * max(counts.ideal_sectors, 1):
            yield (
                f"{where}: {counts.sectors_per_request:.1f} sectors per request where "
                f"{counts.ideal_sectors / counts.requests:.1f} would be enough: let neighbouring lanes access neighbouring "
                "addresses, or pass the data through shared memory"
            )
        free = counts.wavefronts - counts.bank_conflicts
        if counts.wavefronts > LEAST_SHARE * total.wavefronts and counts.wavefronts > MOST_WAVEFRONTS * max(free, 1):
            yield (
                f"{where}: {counts.wavefronts / max(free, 1):.1f} times the wavefronts of shared memory: lanes of a warp use "
                "the same bank; pad the row by a word, or swizzle it"
            )
        lanes = counts.active_lanes / (WARP * counts.instructions) if counts.instructions else 1.0
        if counts.instructions > LEAST_SHARE * total.instructions and lanes < LEAST_ACTIVE:
            yield f"{where}: {lanes:.0%} of the lanes are active: the others took another branch, or have exited"


def advice(counters: Counters, compulsory: float) -> list[str]:
    """Return messages about inefficient memory accesses and branches, most of them about one line of the source.

    Parameters
    ----------
    counters : simulator.Counters
        The sum over one or several checked launches.
    compulsory : float
        Bytes that the op must move: each argument once.
    """
    messages = list(_of_lines(counters))
    total = counters.total
    whole = WARP * WORD // SECTOR  # sectors of a request for four bytes per lane
    narrow = sum(line.sectors for line in counters.lines.values() if line.requests and line.sectors <= whole * line.requests)
    if total.sectors and narrow > MOST_NARROW * total.sectors:
        messages.append(
            f"{narrow / total.sectors:.0%} of the traffic moves 4 bytes or less per lane: 128-bit loads and stores need a "
            "quarter of the requests"
        )
    requested = total.sectors * SECTOR
    if compulsory and requested > MOST_REREADING * compulsory:
        messages.append(
            f"the kernel requests {requested / compulsory:.1f} times the bytes that the op must move: keep data that is read "
            "again in shared memory or registers (a cache may help, but the counters include no cache)"
        )
    if counters.branch_efficiency < LEAST_UNIFORM:
        messages.append(f"the lanes of a warp diverge at {1 - counters.branch_efficiency:.0%} of the branches")
    return messages
