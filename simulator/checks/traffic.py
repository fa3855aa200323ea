"""What an access costs the memory system: 32-byte sectors of global memory, wavefronts over the 32 banks of shared memory.

Loops repeat the pattern of an access at other places, so per instruction the last one's costs are remembered, by where it
stood relative to a sector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import carray, int64, uint32

from simulator.checks.layout import SCRATCH, Field
from simulator.runtime.jit import as_pointer, compiled, longs_at

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs

__all__ = ["PATTERN_WORDS", "turns_of"]

PATTERN_WORDS = 65
"""What is remembered per instruction and kind of memory: the lanes, their distances from the first, costs by its place."""

_SECTOR_SHIFT, _WORD_SHIFT, _BANKS = 5, 2, 32
_PATTERNS = Field.PATTERNS.value
_DISTANCES, _COSTS = 1, 33
_USED, _COST_SHIFT = 1 << 32, 16


@compiled
def turns_of(
    check: Longs, checker: int, place: int, shared: int, lanes: int, active: int, first: int, size: int, offsets: Longs
) -> tuple[int, int]:
    """Return the sectors or wavefronts that a request takes, and the fewest that would do; `place` numbers the pattern."""
    pattern = longs_at(check[_PATTERNS] + 8 * PATTERN_WORDS * place)
    changed = pattern[0] ^ (int64(lanes) | _USED)
    for lane in range(32):
        distance = (offsets[lane] - first) ^ pattern[_DISTANCES + lane]
        changed |= distance if (lanes >> uint32(lane)) & uint32(1) else int64(0)
    if changed:
        pattern[0] = int64(lanes) | _USED
        for lane in range(32):
            pattern[_DISTANCES + lane] = offsets[lane] - first
            pattern[_COSTS + lane] = 0
    cost = _COSTS + (first & (3 if shared else 31))
    if not pattern[cost]:
        seen = carray(as_pointer(checker + 8 * SCRATCH), 256, int64)
        if shared:
            turns, ideal = _bank_wavefronts(offsets, lanes, size, seen)
        else:
            turns, ideal = _sectors(offsets, lanes, active, size, seen)
        pattern[cost] = (turns << _COST_SHIFT) | ideal
    return pattern[cost] >> _COST_SHIFT, pattern[cost] & ((1 << _COST_SHIFT) - 1)


@compiled
def _sectors(offsets: Longs, lanes: int, active: int, size: int, seen: Longs) -> tuple[int, int]:
    """Return the sectors that a request touches, and the fewest that its bytes would fit in."""
    count = 0
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        for sector in range(offsets[lane] >> _SECTOR_SHIFT, ((offsets[lane] + size - 1) >> _SECTOR_SHIFT) + 1):
            known = False
            for place in range(count - 1, -1, -1):
                if seen[place] == sector:
                    known = True
                    break
            if not known:
                seen[count] = sector
                count += 1
    return count, max(1, (active * size + 31) >> _SECTOR_SHIFT)


@compiled
def _bank_wavefronts(offsets: Longs, lanes: int, size: int, seen: Longs) -> tuple[int, int]:  # noqa: C901 (one loop over the lanes)
    """Return the wavefronts a request takes, and how many it would take without conflicts.

    Lanes that read the same word share it. Accesses of 8 bytes are served by half warps, of 16 by quarter warps (CUDA C++
    Programming Guide, section on shared memory of devices of compute capability 5.x and later).
    """
    per_turn = min(32, 128 // size)
    total, ideal = 0, 0
    for first in range(0, 32, per_turn):
        held, worst = 0, 0
        for bank in range(_BANKS):
            seen[64 + bank] = 0
        for lane in range(first, first + per_turn):
            if not (lanes >> uint32(lane)) & uint32(1):
                continue
            for word in range(offsets[lane] >> _WORD_SHIFT, ((offsets[lane] + size - 1) >> _WORD_SHIFT) + 1):
                bank = word & (_BANKS - 1)
                known = False
                if seen[64 + bank]:
                    for place in range(held - 1, -1, -1):
                        if seen[place] == word:
                            known = True
                            break
                if not known:
                    seen[held] = word
                    held += 1
                    seen[64 + bank] += 1
                    worst = max(worst, seen[64 + bank])
        if held:
            total += worst
            ideal += 1
    return total, ideal
