"""The history of memory: who wrote and who read each granule last, and whether the next access comes after them.

Three stamps per granule, its last write and two of its last reads by different threads, and the two instructions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import int64, uint32

from simulator.checks.layout import BASE, CLOCK, WARP_BASE, Code, Field
from simulator.checks.order import is_ordered
from simulator.checks.reports import report
from simulator.runtime.jit import compiled, inlined, longs_at

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs, Number

__all__ = ["HISTORY_WORDS", "enter_reads", "enter_write", "stamp_of"]

HISTORY_WORDS = 4
"""64-bit words per granule."""
_STRONG = 4
_EPOCH_SHIFT, _EPOCH_MASK, _THREAD_SHIFT, _WARP_SHIFT, _BLOCK_SHIFT = 1, (1 << 28) - 1, 29, 34, 39
_SHIFT, _HISTORY, _BLOCK = Field.GRANULE_SHIFT.value, Field.HISTORY.value, Field.BLOCK.value
_LOCAL_START, _LEARNED = Field.LOCAL_START.value, Field.LEARNED.value


@inlined
def stamp_of(block: int, thread: int, epoch: int, strong: int) -> int:
    """Pack who accessed memory and when; zero means nobody."""
    return ((block + 1) << _BLOCK_SHIFT) | (thread << _THREAD_SHIFT) | (epoch << _EPOCH_SHIFT) | strong


@compiled
def _ordered_after(check: Longs, stamp: int, warp: int, lane: int, shared: int) -> Number:
    thread = (stamp >> _THREAD_SHIFT) & 1023
    epoch = (stamp >> _EPOCH_SHIFT) & _EPOCH_MASK
    return is_ordered(check, warp, lane, (stamp >> _BLOCK_SHIFT) - 1, thread, epoch, shared)


@compiled
def _who(stamp: int) -> int:
    return ((stamp >> _BLOCK_SHIFT) - 1) * 1024 + ((stamp >> _THREAD_SHIFT) & 1023)


@compiled
def _compare_write(
    check: Longs,
    history: Longs,
    entry: int,
    warp: int,
    lane: int,
    stamp: int,
    index: int,
    access: int,
    offset: int,
    size: int,
    shared: int,
    same: int,
) -> None:
    """Compare a write with a granule's last write and reads, and enter it."""
    strong, me = access & _STRONG, _who(stamp)
    written = history[entry]
    if written and not (strong and written & 1) and not _ordered_after(check, written, warp, lane, shared):
        code = Code.SAME_VALUE_RACE.value if same else Code.RACE.value
        report(check, code, index, history[entry + 3] & 0xFFFFFFFF, me, _who(written), offset, size)
    for place in range(1, 3):
        read = history[entry + place]
        if read and not (strong and read & 1) and not _ordered_after(check, read, warp, lane, shared):
            report(check, Code.RACE.value, index, history[entry + 3] >> 32, me, _who(read), offset, size)
        history[entry + place] = 0
    history[entry] = stamp
    history[entry + 3] = (history[entry + 3] & ~int64(0xFFFFFFFF)) | index


@compiled
def _compare_read(
    check: Longs,
    history: Longs,
    entry: int,
    warp: int,
    lane: int,
    stamp: int,
    index: int,
    access: int,
    offset: int,
    size: int,
    shared: int,
) -> None:
    """Compare a read with a granule's last write, and keep it beside one read by another thread."""
    written, me = history[entry], _who(stamp)
    if written and not (access & _STRONG and written & 1) and not _ordered_after(check, written, warp, lane, shared):
        report(check, Code.RACE.value, index, history[entry + 3] & 0xFFFFFFFF, me, _who(written), offset, size)
    first = history[entry + 1]
    if first == 0 or _who(first) == me or _ordered_after(check, first, warp, lane, shared):
        history[entry + 1] = stamp
        history[entry + 3] = (history[entry + 3] & 0xFFFFFFFF) | (int64(index) << 32)
    else:
        history[entry + 2] = stamp


@compiled
def _known(stamp: int, mine: int, base: int, warp_base: int, shared: int) -> Number:
    """Return whether nobody left a stamp, or the lane itself, or one whom barriers have told the whole warp of.

    Shared memory is another's in another block. Unless something else than barriers has told threads of each other
    (`Field.LEARNED`), False means that the accesses are not ordered.
    """
    epoch = (stamp >> _EPOCH_SHIFT) & _EPOCH_MASK
    mates = stamp >> _WARP_SHIFT == mine >> _WARP_SHIFT
    here = epoch < base or (mates and epoch < warp_base)
    known = here if stamp >> _BLOCK_SHIFT == mine >> _BLOCK_SHIFT else shared
    return stamp == 0 or known or stamp >> _THREAD_SHIFT == mine >> _THREAD_SHIFT


@compiled
def enter_reads(check: Longs, warp: int, index: int, access: int, lanes: int, size: int, offsets: Longs, shared: int) -> None:
    """Compare each lane's read with the history of every granule it touches; what it did before in this epoch is known."""
    history = longs_at(check[_HISTORY])
    block, base, warp_base = check[_BLOCK], check[BASE + warp], check[WARP_BASE + warp]
    shift, end, learned = check[_SHIFT], check[_LOCAL_START], check[_LEARNED]
    last, repeats = int64(-1), 0
    for lane in range(32):
        offset = offsets[lane]
        if not (lanes >> uint32(lane)) & uint32(1) or offset >= end:
            continue
        repeats = repeats + 1 if offset == last else 0  # of lanes that read the same place, two expose every conflict
        last = offset
        if repeats > 1:
            continue
        stamp = stamp_of(block, 32 * warp + lane, check[CLOCK + 32 * warp + lane], 1 if access & _STRONG else 0)
        for granule in range(offset >> shift, ((offset + size - 1) >> shift) + 1):
            entry = granule << 2
            read = history[entry + 1]
            if read == stamp or history[entry + 2] == stamp:
                continue
            if not _known(history[entry], stamp, base, warp_base, shared):
                _compare_read(check, history, entry, warp, lane, stamp, index, access, offset, size, shared)
            elif _known(read, stamp, base, warp_base, shared):
                history[entry + 1] = stamp
                history[entry + 3] = (history[entry + 3] & 0xFFFFFFFF) | (int64(index) << 32)
            elif not learned:
                history[entry + 2] = stamp
            else:
                _compare_read(check, history, entry, warp, lane, stamp, index, access, offset, size, shared)


@inlined
def enter_write(
    check: Longs, history: Longs, warp: int, lane: int, index: int, access: int, offset: int, size: int, shared: int, same: int
) -> None:
    """Compare one lane's write with the history of every granule it touches, and enter it there."""
    base, warp_base, shift = check[BASE + warp], check[WARP_BASE + warp], check[_SHIFT]
    stamp = stamp_of(check[_BLOCK], 32 * warp + lane, check[CLOCK + 32 * warp + lane], 1 if access & _STRONG else 0)
    for granule in range(offset >> shift, ((offset + size - 1) >> shift) + 1):
        entry = granule << 2
        known = _known(history[entry], stamp, base, warp_base, shared)
        if not (history[entry + 1] or history[entry + 2]):
            if history[entry] == stamp:
                continue
        else:
            known &= _known(history[entry + 1], stamp, base, warp_base, shared)
            known &= _known(history[entry + 2], stamp, base, warp_base, shared)
        if known:
            history[entry], history[entry + 1], history[entry + 2] = stamp, 0, 0
            history[entry + 3] = (history[entry + 3] & ~int64(0xFFFFFFFF)) | index
        else:
            _compare_write(check, history, entry, warp, lane, stamp, index, access, offset, size, shared, same)
