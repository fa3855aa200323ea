"""The product of matrix fragments in the register layouts of the PTX ISA (sections 9.7.14.5.7 to 9.7.14.5.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import float32, float64, int32, types, uint32

from simulator.runtime.jit import callback, inlined

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs, Number

__all__ = ["FUNCTIONS"]

_WORDS, _FLOATS = types.CPointer(uint32), types.CPointer(float32)
_F16, _BF16, _TF32 = 0, 1, 2
_SPECIAL = 31


@inlined
def _half_to_float(pattern: int) -> Number:
    exponent = (pattern >> uint32(10)) & uint32(31)
    fraction = pattern & uint32(1023)
    if exponent == 0:
        value = float32(fraction) * float32(2.0**-24)
    elif exponent == _SPECIAL:
        value = float32(np.inf) if fraction == 0 else float32(np.nan)
    else:
        value = float32(1024 + fraction) * float32(2.0 ** (float64(exponent) - 25.0))
    return -value if (pattern >> uint32(15)) & uint32(1) else value


@inlined
def _element(word: int, half: int, kind: int, bits: Number, floats: Number) -> Number:
    pattern = (word >> uint32(16 * half)) & uint32(0xFFFF)
    if kind == _BF16:
        bits[0] = pattern << uint32(16)
        return floats[0]
    return _half_to_float(pattern)


@callback(types.void(int32, int32, _WORDS, _WORDS, _FLOATS, _FLOATS))
def _multiply_fragments(depth: int, kind: int, a: Longs, b: Longs, c: Longs, d: Longs) -> None:  # noqa: C901 (both layouts in one pass)
    left = np.empty((16, 16), np.float32)
    right = np.empty((16, 8), np.float32)
    bits = np.empty(1, np.uint32)
    floats = bits.view(np.float32)
    for lane in range(32):
        group, within = lane >> 2, lane & 3
        if kind == _TF32:
            for i in range(depth // 2):
                bits[0] = a[i * 32 + lane] & uint32(0xFFFFE000)
                left[group + 8 * (i & 1), within + 4 * (i >> 1)] = floats[0]
            for i in range(depth // 4):
                bits[0] = b[i * 32 + lane] & uint32(0xFFFFE000)
                right[within + 4 * i, group] = floats[0]
        else:
            for i in range(depth // 4):
                for half in range(2):
                    value = _element(a[i * 32 + lane], half, kind, bits, floats)
                    left[group + 8 * (i & 1), 2 * within + half + 8 * (i >> 1)] = value
            for i in range(depth // 8):
                for half in range(2):
                    right[2 * within + half + 8 * i, group] = _element(b[i * 32 + lane], half, kind, bits, floats)
    for lane in range(32):
        group, within = lane >> 2, lane & 3
        for i in range(4):
            row, column = group + 8 * (i >> 1), 2 * within + (i & 1)
            total = float32(0)
            for k in range(depth):
                total += left[row, k] * right[k, column]
            d[i * 32 + lane] = c[i * 32 + lane] + total


FUNCTIONS = {"multiply_fragments": _multiply_fragments}
