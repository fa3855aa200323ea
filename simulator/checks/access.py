"""One access of a warp, checked: bounds, alignment, initialisation, order against earlier accesses, and what it costs.

Shadow memory holds a byte per byte of the arena, made of the bits below. A history of three stamps per granule of memory (its
last write and two of its last reads, by different threads) is what accesses are compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import carray, int32, int64, types, uint8, uint32

from simulator.checks.layout import CONTROL_WORDS, COUNTER_FIELDS, SCRATCH, Code, Field
from simulator.checks.order import acquire, fence, is_ordered, release
from simulator.checks.reports import report
from simulator.checks.traffic import bank_wavefronts, sectors
from simulator.codegen.layout import OFFSETS
from simulator.runtime.jit import as_pointer, callback, compiled, inlined

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from simulator.runtime.jit import Longs, Number, Words

__all__ = ["FUNCTIONS", "INITIALISED", "IN_FLIGHT", "READ_ONLY", "VALID", "stamp_of"]

VALID, INITIALISED, READ_ONLY, IN_FLIGHT = 1, 2, 4, 8
_WORD = 4
_VALID4, _INITIALISED4, _IN_FLIGHT4 = 0x01010101, 0x02020202, 0x08080808

_WRITE, _ATOMIC, _STRONG, _ACQUIRE, _RELEASE, _SHARED, _LOCAL, _BLOCK_SCOPE = 1, 2, 4, 8, 16, 32, 64, 128
_EPOCH_SHIFT, _EPOCH_MASK, _THREAD_SHIFT, _BLOCK_SHIFT = 1, (1 << 28) - 1, 29, 39
_HEADER_WORDS = OFFSETS["print_buffer"] // 4
_WARP_WORD, _ARENA_WORD = OFFSETS["warp"] // 4, OFFSETS["arena"] // 8
_SHADOW, _ARENA_SIZE, _SHIFT, _HISTORY = (
    Field.SHADOW.value,
    Field.ARENA_SIZE.value,
    Field.GRANULE_SHIFT.value,
    Field.HISTORY.value,
)
_GRANULES, _BLOCK, _COUNTERS = Field.GRANULES.value, Field.BLOCK.value, Field.COUNTERS.value
_SHARED_START, _SHARED_END, _LOCAL_START = Field.SHARED_START.value, Field.SHARED_END.value, Field.LOCAL_START.value
_CLOCK = 64
_OFFSETS = types.CPointer(int64)


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


@inlined
def _shadow_of(  # noqa: C901 (two widths of the same few tests)
    shadow: npt.NDArray[np.uint8], words: Words, offset: int, size: int, write: int
) -> int:
    """Return what is missing (VALID, INITIALISED) or in the way (READ_ONLY, IN_FLIGHT); a write initialises."""
    found = 0
    if size >= _WORD and not offset & 3:
        for place in range(offset >> 2, (offset + size) >> 2):
            word = words[place]
            if word & uint32(_VALID4) != uint32(_VALID4):
                found |= VALID
            elif write:
                words[place] = word | uint32(_INITIALISED4)
                if word & uint32(READ_ONLY):
                    found |= READ_ONLY
            elif word & uint32(_INITIALISED4) != uint32(_INITIALISED4):
                found |= INITIALISED
            if word & uint32(_IN_FLIGHT4):
                found |= IN_FLIGHT
    else:
        for place in range(offset, offset + size):
            byte = shadow[place]
            if not byte & VALID:
                found |= VALID
            elif write:
                shadow[place] = byte | uint8(INITIALISED)
                found |= byte & READ_ONLY
            elif not byte & INITIALISED:
                found |= INITIALISED
            found |= byte & IN_FLIGHT
    return found


@compiled
def _check_memory(check: Longs, first_thread: int, index: int, access: int, lanes: int, size: int, offsets: Longs) -> int:
    """Check each lane's bytes; return 1 if the access must not happen."""
    shadow = carray(as_pointer(check[_SHADOW]), check[_ARENA_SIZE], uint8)
    words = carray(as_pointer(check[_SHADOW]), check[_ARENA_SIZE] >> 2, uint32)
    low, high = int64(0), check[_ARENA_SIZE] - size
    if access & _SHARED:
        low, high = check[_SHARED_START], check[_SHARED_END] - size
    uneven = size - 1 if not size & (size - 1) else 0
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        offset, found = offsets[lane], VALID
        if offset & uneven:
            report(check, Code.MISALIGNED.value, index, -1, first_thread + lane, -1, offset, size)
            return 1
        if low <= offset <= high:
            found = 0
            if access & _ATOMIC:
                found = _shadow_of(shadow, words, offset, size, 0) & INITIALISED
            found |= _shadow_of(shadow, words, offset, size, access & _WRITE)
        if found and _report_memory(check, first_thread + lane, index, offset, size, found):
            return 1
    return 0


@compiled
def _report_memory(check: Longs, thread: int, index: int, offset: int, size: int, found: int) -> bool:
    """Report what shadow memory showed; return whether the access must not happen."""
    if found & VALID:
        report(check, Code.OUT_OF_BOUNDS.value, index, -1, thread, -1, offset, size)
        return True
    if found & READ_ONLY:
        report(check, Code.READ_ONLY.value, index, -1, thread, -1, offset, size)
        return True
    if found & IN_FLIGHT:
        report(check, Code.MISSING_WAIT.value, index, -1, thread, -1, offset, size)
    if found & INITIALISED:
        _report_unset(check, index, thread, offset, size)
    return False


@compiled
def _report_unset(check: Longs, index: int, thread: int, offset: int, size: int) -> None:
    shared = check[_SHARED_START] <= offset < check[_SHARED_END]
    code = Code.UNINITIALISED_SHARED.value if shared else Code.UNWRITTEN.value
    report(check, code, index, -1, thread, -1, offset, size)


@compiled
def _count(check: Longs, checker: int, index: int, lanes: int, size: int, offsets: Longs) -> Number:
    """Count a request; return whether it goes to shared memory."""
    seen = carray(as_pointer(checker + 8 * SCRATCH), 256, int64)
    active, first = 0, int64(-1)
    for lane in range(32):
        if (lanes >> uint32(lane)) & uint32(1):
            active += 1
            if first < 0:
                first = offsets[lane]
    shared = check[_SHARED_START] <= first < check[_SHARED_END]
    place = 2 * index + (1 if shared else 0)
    row = carray(as_pointer(check[_COUNTERS] + 8 * COUNTER_FIELDS * place), COUNTER_FIELDS, int64)
    if shared:
        turns, ideal = bank_wavefronts(offsets, lanes, size, seen)
    else:
        turns, ideal = sectors(offsets, lanes, size, seen)
    row[0] += 1
    row[1] += active
    row[2] += turns
    row[3] += ideal
    row[4] += active * size
    return shared


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


@inlined
def _check_order(
    check: Longs, history: Longs, warp: int, lane: int, index: int, access: int, offset: int, size: int, shared: int, same: int
) -> None:
    """Compare one lane's access with the history of every granule it touches; what it did before in this epoch is known."""
    thread, shift = 32 * warp + lane, check[_SHIFT]
    stamp = stamp_of(check[_BLOCK], thread, check[_CLOCK + thread], 1 if access & _STRONG else 0)
    for granule in range(offset >> shift, ((offset + size - 1) >> shift) + 1):
        entry = granule << 2
        if access & _WRITE:
            if history[entry] != stamp or history[entry + 1] or history[entry + 2]:
                _compare_write(check, history, entry, warp, lane, stamp, index, access, offset, size, shared, same)
        elif history[entry + 1] != stamp and history[entry + 2] != stamp:
            _compare_read(check, history, entry, warp, lane, stamp, index, access, offset, size, shared)


@compiled
def _synchronise(check: Longs, warp: int, lane: int, index: int, access: int, offset: int) -> None:
    """Release and acquire, where an access does."""
    if access & _ATOMIC or not access & _WRITE:
        acquire(check, warp, offset)
    if access & _WRITE:
        if access & _RELEASE:
            fence(check, warp, lane, 0 if access & _BLOCK_SCOPE else 1)
        release(check, warp, lane, offset, index)


@callback(int32(int64, int64, int32, int32, uint32, int32, _OFFSETS))
def _check_access(state: int, checker: int, index: int, access: int, lanes: int, size: int, offsets: Longs) -> int:
    """Check a load, an atomic or the write of a copy; a true result ends the launch."""
    if lanes == uint32(0):
        return 0
    check = carray(as_pointer(checker), CONTROL_WORDS, int64)
    header = carray(as_pointer(state), _HEADER_WORDS, int32)
    warp = int64(header[_WARP_WORD])
    wide = int64(size)
    if _check_memory(check, check[_BLOCK] * 1024 + 32 * warp, index, access, lanes, wide, offsets):
        return 1
    shared = _count(check, checker, index, lanes, wide, offsets)
    if access & _LOCAL:
        return 0
    history = carray(as_pointer(check[_HISTORY]), check[_GRANULES] << 2, int64)
    last, repeats = int64(-1), 0
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        offset = offsets[lane]
        if offset >= check[_LOCAL_START]:
            continue
        if access & _STRONG:
            _synchronise(check, warp, lane, index, access, offset)
        if not access & _WRITE:  # of lanes that read the same place, two expose every conflict
            repeats = repeats + 1 if offset == last else 0
            last = offset
            if repeats > 1:
                continue
        _check_order(check, history, warp, lane, index, access, offset, wide, shared, 0)
    return 0


@compiled
def _store_lane(arena: int, offset: int, lane: int, element_bytes: int, count: int, values: int) -> int:
    """Write a lane's elements; return whether they were there already."""
    memory = carray(as_pointer(arena + offset), element_bytes * count, uint8)
    same = 1
    for element in range(count):
        source = carray(as_pointer(values + 256 * element + lane * element_bytes), element_bytes, uint8)
        for byte in range(element_bytes):
            place = element * element_bytes + byte
            if memory[place] != source[byte]:
                same = 0
                memory[place] = source[byte]
    return same


@callback(int32(int64, int64, int32, int32, uint32, int32, int32, _OFFSETS, int64))
def _check_store(
    state: int, checker: int, index: int, access: int, lanes: int, element_bytes: int, count: int, offsets: Longs, values: int
) -> int:
    """Check a store and carry it out; a true result ends the launch."""
    if lanes == uint32(0):
        return 0
    check = carray(as_pointer(checker), CONTROL_WORDS, int64)
    header = carray(as_pointer(state), _HEADER_WORDS, int32)
    longs = carray(as_pointer(state), _HEADER_WORDS // 2, int64)
    warp = int64(header[_WARP_WORD])
    size = int64(element_bytes) * count
    history = carray(as_pointer(check[_HISTORY]), check[_GRANULES] << 2, int64)
    if _check_memory(check, check[_BLOCK] * 1024 + 32 * warp, index, access, lanes, size, offsets):
        return 1
    shared = _count(check, checker, index, lanes, size, offsets)
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        offset = offsets[lane]
        same = _store_lane(longs[_ARENA_WORD], offset, lane, element_bytes, count, values)
        if access & _LOCAL or offset >= check[_LOCAL_START]:
            continue
        if access & _STRONG:
            _synchronise(check, warp, lane, index, access, offset)
        _check_order(check, history, warp, lane, index, access, offset, size, shared, same)
    return 0


FUNCTIONS = {"check_access": _check_access, "check_store": _check_store}
