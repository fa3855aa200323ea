"""Atomic operations on the arena, lane after lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import carray, float32, float64, int32, int64, types, uint16, uint32, uint64

from simulator.runtime.jit import as_pointer, callback, inlined

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs, Number


__all__ = ["FUNCTIONS"]

_ADD, _MIN, _MAX, _EXCHANGE, _SWAP, _AND, _OR, _XOR, _INC, _DEC = range(10)
_U32, _S32, _F32, _U64, _S64, _F64, _B32, _B64, _B16 = range(9)
_LANES = types.CPointer(int64)


@inlined
def _new_word(operation: int, signed: int, old: int, given: int, other: int) -> Number:  # noqa: PLR0911 (one per operation)
    if operation == _ADD:
        return uint32(old + given)
    if operation == _MIN:
        return uint32(min(int32(old), int32(given))) if signed else min(old, given)
    if operation == _MAX:
        return uint32(max(int32(old), int32(given))) if signed else max(old, given)
    if operation == _EXCHANGE:
        return given
    if operation == _SWAP:
        return other if old == given else old
    if operation == _AND:
        return old & given
    if operation == _OR:
        return old | given
    if operation == _XOR:
        return old ^ given
    if operation == _INC:
        return uint32(0) if old >= given else uint32(old + uint32(1))
    return given if old == uint32(0) or old > given else uint32(old - uint32(1))


@inlined
def _new_long(operation: int, signed: int, old: int, given: int, other: int) -> Number:  # noqa: PLR0911 (one per operation)
    if operation == _ADD:
        return old + given
    if operation == _MIN:
        return min(old, given) if signed else int64(min(uint64(old), uint64(given)))
    if operation == _MAX:
        return max(old, given) if signed else int64(max(uint64(old), uint64(given)))
    if operation == _EXCHANGE:
        return given
    if operation == _SWAP:
        return other if old == given else old
    if operation == _AND:
        return old & given
    return old | given if operation == _OR else old ^ given


@callback(types.void(int32, int32, int64, uint32, _LANES, _LANES, _LANES, _LANES))
def _apply_atomic(
    operation: int, kind: int, arena: int, lanes: int, offsets: Longs, given: Longs, other: Longs, old: Longs
) -> None:
    words = np.empty(1, np.uint32)
    floats = words.view(np.float32)
    longs = np.empty(1, np.int64)
    doubles = longs.view(np.float64)
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1):
            continue
        pointer = as_pointer(arena + offsets[lane])
        if kind == _F32:
            single = carray(pointer, 1, float32)
            word = carray(pointer, 1, uint32)
            old[lane] = int64(word[0])
            words[0] = uint32(given[lane])
            if operation == _ADD:
                single[0] = single[0] + floats[0]
            else:
                word[0] = words[0]
        elif kind == _F64:
            double = carray(pointer, 1, float64)
            long = carray(pointer, 1, int64)
            old[lane] = long[0]
            longs[0] = given[lane]
            if operation == _ADD:
                double[0] = double[0] + doubles[0]
            else:
                long[0] = longs[0]
        elif kind in (_U64, _S64, _B64):
            long = carray(pointer, 1, int64)
            old[lane] = long[0]
            long[0] = _new_long(operation, kind == _S64, long[0], given[lane], other[lane])
        elif kind == _B16:
            short = carray(pointer, 1, uint16)
            old[lane] = int64(short[0])
            short[0] = uint16(_new_word(operation, 0, uint32(short[0]), uint32(given[lane]), uint32(other[lane])))
        else:
            word = carray(pointer, 1, uint32)
            old[lane] = int64(word[0])
            word[0] = _new_word(operation, kind == _S32, word[0], uint32(given[lane]), uint32(other[lane]))


FUNCTIONS = {"apply_atomic": _apply_atomic}
