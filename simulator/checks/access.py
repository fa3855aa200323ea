"""One access of a warp, checked: bounds, alignment, initialisation, order against earlier accesses, and what it costs.

Shadow memory holds a byte per byte of the arena, made of the bits below. What was accessed before stands in the history of
`simulator.checks.history`.

Nearly every access of a correct kernel is in order at first sight. What shows that is a few loops over the lanes without
calls; what they cannot decide goes, lane by lane, to the functions that know all the rules and report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import carray, int32, int64, types, uint8, uint32

from simulator.checks.history import enter_reads, enter_write
from simulator.checks.layout import COUNTER_FIELDS, Code, Field
from simulator.checks.order import acquire, fence, release
from simulator.checks.reports import report
from simulator.checks.traffic import turns_of
from simulator.codegen.layout import OFFSETS
from simulator.runtime.jit import as_pointer, callback, compiled, count_lanes, longs_at, words_at

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from simulator.runtime.jit import Longs, Number, Words

__all__ = ["FUNCTIONS", "INITIALISED", "IN_FLIGHT", "READ_ONLY", "VALID"]

VALID, INITIALISED, READ_ONLY, IN_FLIGHT = 1, 2, 4, 8
_WORD = 4
_IN_EACH_BYTE = 0x01010101
_VALID4, _INITIALISED4, _IN_FLIGHT4 = (bit * _IN_EACH_BYTE for bit in (VALID, INITIALISED, IN_FLIGHT))
_READ_WANTS, _READ_MINDS = (bits * _IN_EACH_BYTE for bits in (VALID | INITIALISED, VALID | INITIALISED | IN_FLIGHT))
_WRITE_WANTS, _WRITE_MINDS = (bits * _IN_EACH_BYTE for bits in (VALID, VALID | READ_ONLY | IN_FLIGHT))

_WRITE, _ATOMIC, _STRONG, _ACQUIRE, _RELEASE, _SHARED, _LOCAL, _BLOCK_SCOPE = 1, 2, 4, 8, 16, 32, 64, 128
_WARP_WORD, _ARENA_WORD = OFFSETS["warp"] // 4, OFFSETS["arena"] // 8
_SHADOW, _ARENA_SIZE, _HISTORY = Field.SHADOW.value, Field.ARENA_SIZE.value, Field.HISTORY.value
_BLOCK, _COUNTERS = Field.BLOCK.value, Field.COUNTERS.value
_SHARED_START, _SHARED_END, _LOCAL_START = Field.SHARED_START.value, Field.SHARED_END.value, Field.LOCAL_START.value
_OFFSETS = types.CPointer(int64)


@compiled
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
def _is_plain(  # noqa: C901, PLR0912 (five loops over the lanes)
    check: Longs, access: int, lanes: int, first: int, size: int, offsets: Longs
) -> bool:
    """Return whether all bytes may be accessed so and there is nothing to report; a write then initialises them."""
    low, high = int64(0), check[_ARENA_SIZE] - size
    if access & _SHARED:
        low, high = check[_SHARED_START], check[_SHARED_END] - size
    least, most, bits = first, first, int64(0)
    for lane in range(32):
        offset = offsets[lane] if (lanes >> uint32(lane)) & uint32(1) else first
        least, most, bits = min(least, offset), max(most, offset), bits | offset
    if size & (size - 1) or bits & (size - 1) or least < low or most > high:
        return False
    words = words_at(check[_SHADOW])
    wants, minds = uint32(_READ_WANTS), uint32(_READ_MINDS)
    if access & _ATOMIC:
        minds = uint32(_READ_MINDS | _WRITE_MINDS)
    elif access & _WRITE:
        wants, minds = uint32(_WRITE_WANTS), uint32(_WRITE_MINDS)
    wrong, known = uint32(0), uint32(_INITIALISED4)
    if size < _WORD:
        part = uint32((int64(1) << (8 * size)) - 1)
        for lane in range(32):
            offset = offsets[lane] if (lanes >> uint32(lane)) & uint32(1) else first
            mine = part << uint32(8 * (offset & 3))
            wrong |= (words[offset >> 2] ^ wants) & minds & mine
        if wrong == uint32(0) and access & _WRITE:
            for lane in range(32):
                offset = offsets[lane] if (lanes >> uint32(lane)) & uint32(1) else first
                words[offset >> 2] |= uint32(_INITIALISED4) & (part << uint32(8 * (offset & 3)))
        return bool(wrong == uint32(0))
    for place in range(size >> 2):
        for lane in range(32):
            offset = offsets[lane] if (lanes >> uint32(lane)) & uint32(1) else first
            word = words[(offset >> 2) + place]
            wrong |= (word ^ wants) & minds
            known &= word
    if wrong == uint32(0) and access & _WRITE and known != uint32(_INITIALISED4):
        for place in range(size >> 2):
            for lane in range(32):
                offset = offsets[lane] if (lanes >> uint32(lane)) & uint32(1) else first
                words[(offset >> 2) + place] |= uint32(_INITIALISED4)
    return bool(wrong == uint32(0))


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
def _count(check: Longs, checker: int, index: int, lanes: int, first: int, size: int, offsets: Longs) -> Number:
    """Count a request; return whether it goes to shared memory."""
    active = count_lanes(lanes)
    shared = check[_SHARED_START] <= first < check[_SHARED_END]
    place = 2 * index + (1 if shared else 0)
    row = longs_at(check[_COUNTERS] + 8 * COUNTER_FIELDS * place)
    turns, ideal = turns_of(check, checker, place, shared, lanes, active, first, size, offsets)
    row[0] += 1
    row[1] += active
    row[2] += turns
    row[3] += ideal
    row[4] += active * size
    return shared


@compiled
def _synchronise(check: Longs, warp: int, lane: int, index: int, access: int, offset: int) -> None:
    """Release and acquire, where an access does."""
    if access & _ATOMIC or not access & _WRITE:
        acquire(check, warp, offset)
    if access & _WRITE:
        if access & _RELEASE:
            fence(check, warp, lane, 0 if access & _BLOCK_SCOPE else 1)
        release(check, warp, lane, offset, index)


@compiled
def _first_of(lanes: int, offsets: Longs) -> Number:
    """Return the offset of the lowest lane."""
    lane = 0
    while not (lanes >> uint32(lane)) & uint32(1):
        lane += 1
    return offsets[lane]


@callback(int32(int64, int64, int32, int32, uint32, int32, _OFFSETS))
def _check_access(state: int, checker: int, index: int, access: int, lanes: int, size: int, offsets: Longs) -> int:
    """Check a load, an atomic or the write of a copy; a true result ends the launch."""
    if lanes == uint32(0):
        return 0
    check = longs_at(checker)
    warp, wide, first = int64(words_at(state)[_WARP_WORD]), int64(size), _first_of(lanes, offsets)
    if not _is_plain(check, access, lanes, first, wide, offsets) and _check_memory(
        check, check[_BLOCK] * 1024 + 32 * warp, index, access, lanes, wide, offsets
    ):
        return 1
    shared = _count(check, checker, index, lanes, first, wide, offsets)
    if access & _LOCAL:
        return 0
    if not access & (_STRONG | _WRITE):
        enter_reads(check, warp, index, access, lanes, wide, offsets, shared)
        return 0
    history = longs_at(check[_HISTORY])
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1) or offsets[lane] >= check[_LOCAL_START]:
            continue
        if access & _STRONG:
            _synchronise(check, warp, lane, index, access, offsets[lane])
        if access & _WRITE:
            enter_write(check, history, warp, lane, index, access, offsets[lane], wide, shared, 0)
        else:
            enter_reads(check, warp, index, access, uint32(1) << uint32(lane), wide, offsets, shared)
    return 0


@compiled
def _store_lane(arena: int, offset: int, lane: int, element_bytes: int, count: int, values: int) -> int:
    """Write a lane's elements; return whether they were there already."""
    same = 1
    if element_bytes >= _WORD and not offset & 3:
        memory, each = words_at(arena + offset), element_bytes >> 2
        for element in range(count):
            source = words_at(values + 256 * element + lane * element_bytes)
            for word in range(each):
                if memory[element * each + word] != source[word]:
                    same = 0
                    memory[element * each + word] = source[word]
        return same
    bytes_there = carray(as_pointer(arena + offset), element_bytes * count, uint8)
    for element in range(count):
        bytes_given = carray(as_pointer(values + 256 * element + lane * element_bytes), element_bytes, uint8)
        for byte in range(element_bytes):
            place = element * element_bytes + byte
            if bytes_there[place] != bytes_given[byte]:
                same = 0
                bytes_there[place] = bytes_given[byte]
    return same


@callback(int32(int64, int64, int32, int32, uint32, int32, int32, _OFFSETS, int64))
def _check_store(
    state: int, checker: int, index: int, access: int, lanes: int, element_bytes: int, count: int, offsets: Longs, values: int
) -> int:
    """Check a store and carry it out; a true result ends the launch."""
    if lanes == uint32(0):
        return 0
    check = longs_at(checker)
    warp, arena, first = int64(words_at(state)[_WARP_WORD]), longs_at(state)[_ARENA_WORD], _first_of(lanes, offsets)
    size = int64(element_bytes) * count
    if not _is_plain(check, access, lanes, first, size, offsets) and _check_memory(
        check, check[_BLOCK] * 1024 + 32 * warp, index, access, lanes, size, offsets
    ):
        return 1
    shared = _count(check, checker, index, lanes, first, size, offsets)
    history = longs_at(check[_HISTORY])
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        offset = offsets[lane]
        same = _store_lane(arena, offset, lane, int64(element_bytes), int64(count), values)
        if access & _LOCAL or offset >= check[_LOCAL_START]:
            continue
        if access & _STRONG:
            _synchronise(check, warp, lane, index, access, offset)
        enter_write(check, history, warp, lane, index, access, offset, size, shared, same)
    return 0


FUNCTIONS = {"check_access": _check_access, "check_store": _check_store}
