"""cp.async in checked mode: bytes stay in flight until the thread that copies has waited for their group.

Each thread has a queue of its copies (offset, bytes, group). When it has waited, the copies count as its writes of that
moment, so that others still need a barrier to read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import carray, int32, int64, types, uint8, uint32

from simulator.checks.access import IN_FLIGHT
from simulator.checks.history import HISTORY_WORDS, stamp_of
from simulator.checks.layout import CLOCK, Code, Field
from simulator.checks.reports import report
from simulator.codegen.layout import OFFSETS
from simulator.runtime.jit import as_pointer, callback, compiled, longs_at, words_at

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs

__all__ = ["COPY_FIELDS", "FUNCTIONS", "QUEUE_LENGTH"]

QUEUE_LENGTH, COPY_FIELDS = 256, 3
_WARP_WORD = OFFSETS["warp"] // 4
_COMMIT = -1
_WHO_SHIFT = 29


@compiled
def _queue(check: Longs, thread: int) -> tuple[Longs, Longs]:
    """Return a thread's queue, and its length and number of closed groups."""
    start = check[Field.COPIES.value] + 8 * COPY_FIELDS * QUEUE_LENGTH * thread
    queue = carray(as_pointer(start), (QUEUE_LENGTH, COPY_FIELDS), int64)
    return queue, carray(as_pointer(check[Field.COPY_STATE.value] + 16 * thread), 2, int64)


@callback(types.void(int64, int64, int32, int32, uint32, types.CPointer(int64)))
def _check_copy(state: int, checker: int, index: int, size: int, lanes: int, offsets: Longs) -> None:
    """Put a copy of each lane in flight."""
    check = longs_at(checker)
    header = words_at(state)
    shadow = carray(as_pointer(check[Field.SHADOW.value]), check[Field.ARENA_SIZE.value], uint8)
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        thread = 32 * int64(header[_WARP_WORD]) + lane
        queue, status = _queue(check, thread)
        length = status[0]
        if length == QUEUE_LENGTH:
            report(
                check, Code.TOO_MANY_COPIES.value, index, -1, check[Field.BLOCK.value] * 1024 + thread, -1, offsets[lane], size
            )
            continue
        queue[length, 0], queue[length, 1], queue[length, 2] = offsets[lane], size, status[1]
        status[0] = length + 1
        for place in range(offsets[lane], offsets[lane] + size):
            shadow[place] |= uint8(IN_FLIGHT)


@compiled
def _land(check: Longs, thread: int, offset: int, size: int) -> None:
    """End a copy: its bytes are the thread's writes of now, unless another has written since."""
    shadow = carray(as_pointer(check[Field.SHADOW.value]), check[Field.ARENA_SIZE.value], uint8)
    for place in range(offset, offset + size):
        shadow[place] &= ~uint8(IN_FLIGHT)
    shift = check[Field.GRANULE_SHIFT.value]
    history = carray(as_pointer(check[Field.HISTORY.value]), (check[Field.GRANULES.value], HISTORY_WORDS), int64)
    stamp = stamp_of(check[Field.BLOCK.value], thread, check[CLOCK + thread], 0)
    for granule in range(offset >> shift, (offset + size) >> shift):
        if history[granule, 0] >> _WHO_SHIFT == stamp >> _WHO_SHIFT:
            history[granule, 0] = stamp


@callback(types.void(int64, int64, int32, int32, uint32))
def _check_copy_groups(state: int, checker: int, number: int, everything: int, lanes: int) -> None:
    """Close a group, or land the copies of all but the last `number` groups."""
    check = longs_at(checker)
    header = words_at(state)
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        thread = 32 * int64(header[_WARP_WORD]) + lane
        queue, status = _queue(check, thread)
        if number == _COMMIT:
            status[1] += 1
            continue
        kept = 0
        for place in range(status[0]):
            if everything or queue[place, 2] < status[1] - number:
                _land(check, thread, queue[place, 0], queue[place, 1])
            else:
                for part in range(COPY_FIELDS):
                    queue[kept, part] = queue[place, part]
                kept += 1
        status[0] = kept


FUNCTIONS = {"check_copy": _check_copy, "check_copy_groups": _check_copy_groups}
