"""What an access costs the memory system: 32-byte sectors of global memory, wavefronts over the 32 banks of shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import uint32

from simulator.runtime.jit import compiled

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs

__all__ = ["bank_wavefronts", "sectors"]

_SECTOR_SHIFT, _WORD_SHIFT, _BANKS = 5, 2, 32


@compiled
def sectors(offsets: Longs, lanes: int, size: int, seen: Longs) -> tuple[int, int]:
    """Return the sectors that a request touches, and the fewest that its bytes would fit in."""
    count, active = 0, 0
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        active += 1
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
def bank_wavefronts(offsets: Longs, lanes: int, size: int, seen: Longs) -> tuple[int, int]:  # noqa: C901 (one loop over the lanes)
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
