"""The blocks of a packed matrix product, and the share of one thread in them.

All threads pack the shared panels together, then each takes chunks of the other side, packs them for itself and multiplies.
A thread takes work by adding to counters. It waits only for work that a running thread has taken, so there is no deadlock with
any number of running threads.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import carray

from kernels.simd import jit
from kernels.simd.gemm_epilogue import NONE, apply_epilogue
from kernels.simd.gemm_intrinsics import (
    COLUMNS,
    ROWS,
    add_atomically,
    as_integers,
    give_way,
    load,
    load_shared,
    multiply_tile,
    store,
)
from kernels.simd.gemm_pack import Side, pack, padded_depth
from kernels.simd.gemm_plan import COUNTERS, JOB, LINE, Plan

__all__ = ["Target", "share_of"]

_FLOAT = 4  # bytes
_TAKEN, _PACKED, _CHUNKS_TAKEN, _CHUNKS_DONE = (LINE * i for i in range(COUNTERS))
_PANELS_AT_ONCE = 8  # panels that a thread packs for one addition to a shared counter
_PATIENCE = 1000  # looks at a counter, about a microsecond, before the core is offered to another thread


class Target(NamedTuple):
    """The result and its addend: addresses, and strides in bytes.

    The addend is the result itself, or one row for all rows (a stride of 0), or one zero. `other` is the array of the
    epilogue, laid out as the result.
    """

    start: int
    row: int
    addend: int
    addend_row: int
    addend_column: int
    epilogue: int
    other: int


@jit
def _multiply_panels(left, right, rows, columns, depth, target, zeros, spare):
    """Set a block of the result from the panels of `rows` rows and of `columns` columns, tile by tile."""
    for j in range(0, columns, COLUMNS):
        for i in range(0, rows, ROWS):
            a, b = left + _FLOAT * i * depth, right + _FLOAT * j * depth
            result = target.start + i * target.row + _FLOAT * j
            addend = target.addend + i * target.addend_row + j * target.addend_column
            into, row, plus, plus_row = result, target.row, addend, target.addend_row
            ragged = i + ROWS > rows or j + COLUMNS > columns
            if ragged:
                into, row, plus, plus_row = spare, _FLOAT * COLUMNS, zeros, 0
            multiply_tile(depth, a, b, into, row, plus, plus_row)
            if ragged:
                for x in range(min(ROWS, rows - i)):
                    for y in range(min(COLUMNS, columns - j)):
                        value = load(addend + x * target.addend_row + y * target.addend_column)
                        value += load(spare + _FLOAT * (x * COLUMNS + y))
                        store(result + x * target.row + _FLOAT * y, value)


@jit
def _wait_for(counter, value):
    turns = 0
    while load_shared(counter) < value:
        turns += 1
        if turns % _PATIENCE == 0:
            give_way()


@jit
def _pack_shared(side, first, count, top, depth, block, panels, counters):
    """Pack the shared panels together with the other threads: take groups of panels until none is left."""
    groups = (count + _PANELS_AT_ONCE * side.width - 1) // (_PANELS_AT_ONCE * side.width)
    units = groups * max((depth + block - 1) // block, 1)
    padded_count = (count + side.width - 1) // side.width * side.width
    while True:
        unit = add_atomically(counters + _TAKEN, 1)
        if unit >= units:
            break
        at, i = unit // groups * block, unit % groups * _PANELS_AT_ONCE * side.width
        length = min(block, depth - at)
        place = panels + _FLOAT * (at * padded_count + i * padded_depth(length))
        pack(side, first + i, min(_PANELS_AT_ONCE * side.width, count - i), top + at, length, place)
        add_atomically(counters + _PACKED, 1)
    _wait_for(counters + _PACKED, units)


@jit
def _multiply_chunk(chunk, left, right, depth, first, count, top, length, target, plan, scratch, thread):
    """Multiply one chunk of the one side with the shared panels of the other."""
    own = scratch + plan.chunk_panels + thread * plan.chunk_bytes
    spare = scratch + plan.tiles + thread * _FLOAT * ROWS * COLUMNS
    zeros = scratch + plan.zeros
    side = right if plan.left_is_shared else left
    begin = chunk * plan.chunk
    size = min(plan.chunk, side.size - begin)
    if plan.left_is_shared:
        i, j, rows, columns, padded_count = first, begin, count, size, (count + ROWS - 1) // ROWS * ROWS
    else:
        i, j, rows, columns, padded_count = begin, first, size, count, (count + COLUMNS - 1) // COLUMNS * COLUMNS
    result = target.start + i * target.row + _FLOAT * j
    for at in range(0, max(length, 1), plan.depth):
        block = min(plan.depth, length - at)
        pack(side, begin, size, top + at, block, own)
        panels = scratch + plan.panels + _FLOAT * at * padded_count
        addend, addend_row, addend_column = result, target.row, _FLOAT
        if top + at == 0:
            addend = target.addend + i * target.addend_row + j * target.addend_column
            addend_row, addend_column = target.addend_row, target.addend_column
        here = Target(result, target.row, addend, addend_row, addend_column, target.epilogue, target.other)
        a, b = (panels, own) if plan.left_is_shared else (own, panels)
        _multiply_panels(a, b, rows, columns, padded_depth(block), here, zeros, spare)
    if target.epilogue != NONE and top + length >= depth:
        apply_epilogue(target.epilogue, result, target.other + (result - target.start), target.row, rows, columns)


def share_of(thread, job):
    """Do one thread's share of the job, a table of int64 at an address: plan, left, right, target, depth, scratch memory."""
    j = carray(as_integers(job), (JOB,))
    plan = Plan(j[0], j[1], j[2], j[3], j[4], j[5], j[6], j[7], j[8], j[9], j[10], j[11], j[12], j[13], j[14])
    left, right = Side(j[15], j[16], j[17], j[18], j[19]), Side(j[20], j[21], j[22], j[23], j[24])
    target = Target(j[25], j[26], j[27], j[28], j[29], j[30], j[31])
    depth, scratch = j[32], j[33]
    counters = scratch + plan.counters
    shared = left if plan.left_is_shared else right
    for first in range(0, shared.size, plan.shared):
        count = min(plan.shared, shared.size - first)
        for top in range(0, max(depth, 1), plan.shared_depth):
            length = min(plan.shared_depth, depth - top)
            _pack_shared(shared, first, count, top, length, plan.depth, scratch + plan.panels, counters)
            while True:
                chunk = add_atomically(counters + _CHUNKS_TAKEN, 1)
                if chunk >= plan.chunks:
                    break
                _multiply_chunk(chunk, left, right, depth, first, count, top, length, target, plan, scratch, thread)
                add_atomically(counters + _CHUNKS_DONE, 1)
            _wait_for(counters + _CHUNKS_DONE, plan.chunks)
            counters += COUNTERS * LINE
