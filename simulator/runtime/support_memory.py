"""Gathers, scatters and permutations for machines without AVX-512, and the buffer of printf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import carray, int32, int64, types, uint8, uint16, uint32, uint64

from simulator.runtime.jit import as_pointer, callback

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs, Number


__all__ = ["FUNCTIONS", "PRINT_ARGUMENT_BYTES", "PRINT_RECORD"]

PRINT_ARGUMENT_BYTES = 128
PRINT_RECORD = 2 + PRINT_ARGUMENT_BYTES // 8
"""64-bit words of one call of printf: the format's address, the lane, and the values."""
_BIAS = 0x7000_0000_0000
_OFFSETS, _LANES = types.CPointer(int32), types.CPointer(uint32)


def _movers(kind: Number) -> tuple[Number, Number]:
    values = types.CPointer(kind)

    @callback(types.void(int64, _OFFSETS, uint32, values))
    def gather(base: int, offsets: Longs, lanes: int, result: Longs) -> None:
        for lane in range(32):
            if (lanes >> uint32(lane)) & uint32(1):
                result[lane] = carray(as_pointer(base + int64(uint32(offsets[lane]))), 1, kind)[0]
            else:
                result[lane] = kind(0)

    @callback(types.void(int64, _OFFSETS, uint32, values))
    def scatter(base: int, offsets: Longs, lanes: int, value: Longs) -> None:
        for lane in range(32):
            if (lanes >> uint32(lane)) & uint32(1):
                carray(as_pointer(base + int64(uint32(offsets[lane]))), 1, kind)[0] = value[lane]

    return gather, scatter


@callback(types.void(_LANES, _LANES, _LANES))
def _permute(values: Longs, sources: Longs, result: Longs) -> None:
    for lane in range(32):
        result[lane] = values[sources[lane] & uint32(31)]


@callback(types.void(int64, int64, int64, uint32, types.CPointer(int64), types.CPointer(int64)))
def _keep_printed(buffer_address: int, arena: int, arena_size: int, lanes: int, formats: Longs, values: Longs) -> None:
    head = carray(as_pointer(buffer_address), 2, int64)
    for lane in range(32):
        if not (lanes >> uint32(lane)) & uint32(1) or head[0] >= head[1]:
            continue
        record = carray(as_pointer(buffer_address + 16 + 8 * PRINT_RECORD * head[0]), PRINT_RECORD, int64)
        record[0] = formats[lane]
        record[1] = lane
        source = values[lane] - _BIAS
        if 0 <= source <= arena_size - PRINT_ARGUMENT_BYTES:
            words = carray(as_pointer(arena + source), PRINT_ARGUMENT_BYTES // 8, int64)
            for word in range(PRINT_ARGUMENT_BYTES // 8):
                record[2 + word] = words[word]
        head[0] += 1


FUNCTIONS = {"permute_32": _permute, "keep_printed": _keep_printed}
for _kind in (uint8, uint16, uint32, uint64):
    FUNCTIONS[f"gather_{_kind.bitwidth}"], FUNCTIONS[f"scatter_{_kind.bitwidth}"] = _movers(_kind)
