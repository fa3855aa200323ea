"""Which accesses are ordered: epochs, what each warp and lane knows of others, barriers, fences, release and acquire.

A thread's epoch grows whenever others may learn of what it did: at barriers, warp barriers and fences. An access is stamped
with its thread's epoch; it is ordered before another thread's if that thread knows the epoch (FastTrack, Flanagan and Freund,
PLDI 2009, with knowledge kept per warp where lanes cannot differ).

Blocks run one after another, so between blocks only what was released counts: a fence and then an atomic (or a release), in
the other block an atomic or a strong read of the same place. An atomic acquires without a fence of its own, as CUDA's own
examples of the last block to finish rely on. What the threads of a block fenced before a barrier, any of them releases after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import carray, int32, int64, types, uint32

from simulator.checks import layout
from simulator.checks.layout import (
    ACQUIRED,
    BARRIER_FENCED,
    BASE,
    CLOCK,
    FENCE_CLOCK,
    FENCED,
    FENCED_ACQUIRED,
    FENCED_KNOWN,
    FENCED_LANES,
    KNOWN,
    KNOWN_LANES,
    RECORD_FIELDS,
    THREADS,
    VARIABLE_BLOCK,
    VARIABLE_INHERITED,
    VARIABLE_KEY,
    VARIABLE_KNOWN,
    VARIABLES,
    WARP_BASE,
    WARPS,
    Code,
    Field,
)
from simulator.checks.reports import report
from simulator.codegen.layout import OFFSETS
from simulator.runtime.jit import as_pointer, callback, compiled, longs_at, words_at

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs, Number, Words

__all__ = ["FUNCTIONS", "acquire", "fence", "is_ordered", "join_at_barrier", "release", "start_block"]

_BLOCK, _WARPS, _THREADS = Field.BLOCK.value, Field.WARPS.value, Field.THREADS.value
_ANY_FENCED, _LEARNED = Field.BARRIER_FENCED_ANY.value, Field.LEARNED.value
_WARP_WORD = OFFSETS["warp"] // 4
_LIVE_WORD = OFFSETS["live"] // 4
_BAR_ID_WORD = OFFSETS["barrier_id"] // 4
_WAITING, _ENDED = 1, 2
_BLOCK_SCOPE, _DEVICE_SCOPE = 0, 1


@compiled
def _fill(check: Longs, start: int, count: int, value: int) -> None:
    for place in range(start, start + count):
        check[place] = value


@compiled
def start_block(checker: int, block: int) -> None:
    """Forget the last block's threads; its releases stay."""
    check = longs_at(checker)
    warps, threads = check[_WARPS], check[_THREADS]
    check[_BLOCK] = block
    check[_ANY_FENCED] = 0
    _fill(check, CLOCK, threads, 1)
    _fill(check, BASE, warps, 1)
    _fill(check, WARP_BASE, warps, 1)
    if check[_LEARNED]:
        check[_LEARNED] = 0
        _fill(check, KNOWN_LANES, warps * 1024, 0)
        _fill(check, KNOWN, warps * THREADS, 0)
        _fill(check, ACQUIRED, WARPS, 0)
        _fill(check, FENCED, 2 * WARPS, 0)
        _fill(check, FENCED_ACQUIRED, 2 * WARPS, 0)
        _fill(check, FENCE_CLOCK, 2 * THREADS, 0)
        _fill(check, BARRIER_FENCED, 2 * THREADS, 0)
    shadow = carray(as_pointer(check[0]), check[1], types.uint8)
    for place in range(check[Field.SHARED_START.value], check[Field.SHARED_END.value]):
        shadow[place] &= types.uint8(1)  # VALID stays; nothing is initialised, no copy in flight
    state = carray(as_pointer(check[Field.COPY_STATE.value]), THREADS * 2, int64)
    state[: 2 * threads] = 0


@compiled
def _known_between_blocks(check: Longs, warp: int, block: int, thread: int, epoch: int) -> Number:
    acquired = check[ACQUIRED + warp]
    if acquired == 0:
        return False
    heads = carray(as_pointer(check[Field.RECORD_HEADS.value]), block + 1, int64)
    row = heads[block] - 1
    while row >= 0:
        record = carray(as_pointer(check[Field.RECORDS.value] + 8 * RECORD_FIELDS * row), RECORD_FIELDS, int64)
        if (acquired >> record[0]) & 1:
            epochs = carray(as_pointer(check[Field.RECORD_ROWS.value] + 4 * check[_THREADS] * row), check[_THREADS], int32)
            if epochs[thread] >= epoch:
                return True
        row = record[1] - 1
    return False


@compiled
def is_ordered(check: Longs, warp: int, lane: int, block: int, thread: int, epoch: int, shared: int) -> Number:
    """Return whether a lane of the running block knows an epoch of a thread of some block."""
    if block != check[_BLOCK]:
        return shared or _known_between_blocks(check, warp, block, thread, epoch)
    if epoch < check[BASE + warp]:
        return True
    if thread >> 5 == warp:
        other = thread & 31
        if other == lane or epoch < check[WARP_BASE + warp]:
            return True
        if epoch <= check[KNOWN_LANES + (warp * 32 + lane) * 32 + other]:
            return True
    return epoch <= check[KNOWN + warp * THREADS + thread]


# barriers


@compiled
def join_at_barrier(checker: int, words: Words, state: Longs, number: int) -> None:  # noqa: C901, PLR0912 (whole and partial barriers in one pass)
    """Let the warps that wait at a barrier of the block know of each other."""
    check = longs_at(checker)
    warps = words.shape[0]
    whole = True
    latest, base, acquired = int64(0), int64(0), int64(0)
    for warp in range(warps):
        if state[warp] == _WAITING and words[warp, _BAR_ID_WORD] == number:
            for thread in range(32 * warp, 32 * warp + 32):
                latest = max(latest, check[CLOCK + thread])
            base = max(base, check[BASE + warp])
            acquired |= check[ACQUIRED + warp]
        elif state[warp] != _ENDED:
            whole = False
    for warp in range(warps):
        if not (state[warp] == _WAITING and words[warp, _BAR_ID_WORD] == number):
            continue
        check[ACQUIRED + warp] = acquired
        if whole:
            check[BASE + warp] = latest + 1
            continue
        check[_LEARNED] = 1
        check[BASE + warp] = base
        for other in range(warps):
            if not (state[other] == _WAITING and words[other, _BAR_ID_WORD] == number):
                continue
            for thread in range(check[_THREADS]):
                epoch = check[KNOWN + other * THREADS + thread]
                if thread >> 5 == other:
                    epoch = check[CLOCK + thread]
                check[KNOWN + warp * THREADS + thread] = max(check[KNOWN + warp * THREADS + thread], epoch)
    for warp in range(warps):
        if state[warp] == _WAITING and words[warp, _BAR_ID_WORD] == number:
            check[WARP_BASE + warp] = latest + 1
            _fill(check, CLOCK + 32 * warp, 32, latest + 1)
    if whole and check[_LEARNED]:
        for place in range(2 * THREADS):
            check[BARRIER_FENCED + place] = check[FENCE_CLOCK + place]
        for warp in range(warps):
            if check[FENCED + WARPS * _BLOCK_SCOPE + warp]:
                check[_ANY_FENCED] = 1


@callback(types.void(int64, int64, uint32, types.CPointer(uint32)))
def _check_warp_barrier(state: int, checker: int, active: int, named: Longs) -> None:  # noqa: C901, PLR0912 (whole and partial warps)
    """Let the lanes that met at a warp barrier know of each other."""
    check = longs_at(checker)
    header = words_at(state)
    warp = int64(header[_WARP_WORD])
    first = CLOCK + 32 * warp
    latest = int64(0)
    together = active == header[_LIVE_WORD]
    for lane in range(32):
        latest = max(latest, check[first + lane])
        if (active >> uint32(lane)) & uint32(1) and named[lane] & active != active:
            together = False
    if together:
        check[WARP_BASE + warp] = latest + 1
        _fill(check, first, 32, latest + 1)
        return
    check[_LEARNED] = 1
    known = KNOWN_LANES + warp * 1024
    before = carray(as_pointer(checker + 8 * layout.SCRATCH), 32, int64)
    for lane in range(32):
        if not (active >> uint32(lane)) & uint32(1):
            continue
        group = named[lane] & active
        for other in range(32):
            before[other] = check[known + lane * 32 + other]
        for other in range(32):
            if (group >> uint32(other)) & uint32(1):
                before[other] = max(before[other], check[first + other])
                for third in range(32):
                    if third != other:
                        before[third] = max(before[third], check[known + other * 32 + third])
        for other in range(32):
            check[known + lane * 32 + other] = before[other]
    for lane in range(32):
        if (active >> uint32(lane)) & uint32(1):
            check[first + lane] += 1


# fences, releases and acquisitions


@compiled
def fence(check: Longs, warp: int, lane: int, scope: int) -> None:
    """Keep what a lane knows, for its later releases at up to this scope, and begin its next epoch."""
    check[_LEARNED] = 1
    me = 32 * warp + lane
    for narrower in range(scope + 1):
        place = narrower * WARPS + warp
        lanes = FENCED_LANES + (place * 32 + lane) * 32
        known = KNOWN_LANES + (warp * 32 + lane) * 32
        sure = max(check[BASE + warp], check[WARP_BASE + warp]) - 1
        for other in range(32):
            check[lanes + other] = max(check[known + other], sure)
        check[lanes + lane] = check[CLOCK + me]
        sure = check[BASE + warp] - 1
        for thread in range(check[_THREADS]):
            check[FENCED_KNOWN + place * THREADS + thread] = max(check[KNOWN + warp * THREADS + thread], sure)
        check[FENCED_ACQUIRED + place] = check[ACQUIRED + warp]
        check[FENCE_CLOCK + narrower * THREADS + me] = check[CLOCK + me]
        check[FENCED + place] |= int64(1) << lane
    check[CLOCK + me] += 1


@callback(types.void(int64, int64, int32, uint32))
def _check_fence(state: int, checker: int, block_scope: int, lanes: int) -> None:
    check = longs_at(checker)
    header = words_at(state)
    for lane in range(32):
        if (lanes >> uint32(lane)) & uint32(1):
            fence(check, int64(header[_WARP_WORD]), lane, _BLOCK_SCOPE if block_scope else _DEVICE_SCOPE)


@compiled
def _variable(check: Longs, offset: int, add: int) -> Number:
    """Return the number of a place that threads synchronise through, or -1."""
    count = check[Field.VARIABLE_COUNT.value]
    for number in range(min(count, VARIABLES - 1)):
        if check[VARIABLE_KEY + number] == offset:
            return number
    if count < VARIABLES - 1:
        if not add:
            return int64(-1)
        check[VARIABLE_KEY + count] = offset
        check[Field.VARIABLE_COUNT.value] = count + 1
        return count
    return int64(VARIABLES - 1)


@compiled
def acquire(check: Longs, warp: int, offset: int) -> None:
    """Learn what was released to a place."""
    if check[Field.VARIABLE_COUNT.value] == 0:
        return
    number = _variable(check, offset, False)  # noqa: FBT003 (numba takes no keywords from every caller)
    if number < 0:
        return
    check[_LEARNED] = 1
    check[ACQUIRED + warp] |= (int64(1) << number) | check[VARIABLE_INHERITED + number]
    if check[VARIABLE_BLOCK + number] == check[_BLOCK] + 1:
        for thread in range(check[_THREADS]):
            epoch = check[VARIABLE_KNOWN + number * THREADS + thread]
            check[KNOWN + warp * THREADS + thread] = max(check[KNOWN + warp * THREADS + thread], epoch)


@compiled
def _released(check: Longs, scope: int, warp: int, lane: int, thread: int) -> Number:
    """Return the last epoch of a thread that a lane's release makes known."""
    epoch = check[BARRIER_FENCED + scope * THREADS + thread]
    place = scope * WARPS + warp
    if (check[FENCED + place] >> lane) & 1:
        epoch = max(epoch, check[FENCED_KNOWN + place * THREADS + thread])
        if thread >> 5 == warp:
            epoch = max(epoch, check[FENCED_LANES + (place * 32 + lane) * 32 + (thread & 31)])
    return epoch


@compiled
def _record_row(check: Longs, number: int) -> Number:
    """Return the running block's record of a variable, a new one if need be; -1 where there is no room."""
    block = check[_BLOCK]
    heads = carray(as_pointer(check[Field.RECORD_HEADS.value]), block + 1, int64)
    row = heads[block] - 1
    while row >= 0:
        record = carray(as_pointer(check[Field.RECORDS.value] + 8 * RECORD_FIELDS * row), RECORD_FIELDS, int64)
        if record[0] == number:
            return row
        row = record[1] - 1
    row = check[Field.RECORD_COUNT.value]
    if row >= check[Field.RECORD_LIMIT.value]:
        return int64(-1)
    epochs = carray(as_pointer(check[Field.RECORD_ROWS.value] + 4 * check[_THREADS] * row), check[_THREADS], int32)
    epochs[:] = 0
    record = carray(as_pointer(check[Field.RECORDS.value] + 8 * RECORD_FIELDS * row), RECORD_FIELDS, int64)
    record[0], record[1] = number, heads[block]
    heads[block] = row + 1
    check[Field.RECORD_COUNT.value] = row + 1
    return row


@compiled
def release(check: Longs, warp: int, lane: int, offset: int, index: int) -> None:
    """Tell a place what the lane had fenced."""
    fenced = (check[FENCED + _BLOCK_SCOPE * WARPS + warp] >> lane) & 1
    if not (fenced or check[_ANY_FENCED]):
        return
    number = _variable(check, offset, True)  # noqa: FBT003 (numba takes no keywords from every caller)
    threads = check[_THREADS]
    known = VARIABLE_KNOWN + number * THREADS
    if check[VARIABLE_BLOCK + number] != check[_BLOCK] + 1:
        check[VARIABLE_BLOCK + number] = check[_BLOCK] + 1
        _fill(check, known, threads, 0)
    for thread in range(threads):
        check[known + thread] = max(check[known + thread], _released(check, _BLOCK_SCOPE, warp, lane, thread))
    row = _record_row(check, number)
    if row < 0:
        report(check, Code.TOO_MANY_RELEASES.value, index, -1, check[_BLOCK] * 1024 + 32 * warp + lane, -1, offset, 4)
        return
    epochs = carray(as_pointer(check[Field.RECORD_ROWS.value] + 4 * threads * row), threads, int32)
    for thread in range(threads):
        epochs[thread] = max(int64(epochs[thread]), _released(check, _DEVICE_SCOPE, warp, lane, thread))
    check[VARIABLE_INHERITED + number] |= check[FENCED_ACQUIRED + _DEVICE_SCOPE * WARPS + warp]


@callback(types.void(int64, int64, int32, uint32))
def _check_membership(state: int, checker: int, index: int, lanes: int) -> None:
    check = longs_at(checker)
    header = words_at(state)
    for lane in range(32):
        if (lanes >> uint32(lane)) & uint32(1):
            thread = check[_BLOCK] * 1024 + 32 * int64(header[_WARP_WORD]) + lane
            report(check, Code.NOT_A_MEMBER.value, index, -1, thread, -1, -1, 0)


FUNCTIONS = {
    "check_warp_barrier": _check_warp_barrier,
    "check_fence": _check_fence,
    "check_membership": _check_membership,
}
