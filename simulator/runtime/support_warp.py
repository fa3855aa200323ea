"""Comparisons and reductions between the lanes of a warp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import int32, types, uint32, uint64

from simulator.runtime.jit import callback, inlined

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs, Number

__all__ = ["FUNCTIONS"]

_ADD, _MIN, _MAX, _AND, _OR, _XOR = range(6)
_LANES, _WIDE = types.CPointer(uint32), types.CPointer(uint64)


@callback(types.void(_WIDE, _LANES, _LANES))
def _match_lanes(values: Longs, members: Longs, equal: Longs) -> None:
    for lane in range(32):
        found = uint32(0)
        for other in range(32):
            if (members[lane] >> uint32(other)) & uint32(1) and values[lane] == values[other]:
                found |= uint32(1) << uint32(other)
        equal[lane] = found


@inlined
def _combined(operation: int, signed: int, left: Number, right: Number) -> Number:
    if operation == _ADD:
        return uint32(left + right)
    if operation == _MIN:
        return uint32(min(int32(left), int32(right))) if signed else min(left, right)
    if operation == _MAX:
        return uint32(max(int32(left), int32(right))) if signed else max(left, right)
    if operation == _AND:
        return left & right
    if operation == _OR:
        return left | right
    return left ^ right


@callback(types.void(int32, int32, _LANES, _LANES, _LANES))
def _reduce_lanes(operation: int, signed: int, values: Longs, members: Longs, result: Longs) -> None:
    for lane in range(32):
        total, started = uint32(0), False
        for other in range(32):
            if (members[lane] >> uint32(other)) & uint32(1):
                total = _combined(operation, signed, total, values[other]) if started else values[other]
                started = True
        result[lane] = total


FUNCTIONS = {"match_lanes": _match_lanes, "reduce_lanes": _reduce_lanes}
