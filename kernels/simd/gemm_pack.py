"""Panels: a factor of a matrix product, rearranged in the order in which the register tiles read it.

A panel holds `width` rows (left factor) or columns (right factor) side by side for every step of depth:
``panels[i // width][k][i % width]``, padded with zeros to whole panels and whole turns of the tile's loop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.simd import jit
from kernels.simd.gemm_intrinsics import (
    COLUMNS,
    LANES,
    ROWS,
    UNROLL,
    copy_columns,
    copy_rows,
    load,
    store,
    transpose_columns,
    transpose_rows,
)

__all__ = ["Side", "pack", "padded_depth"]

_FLOAT = 4  # bytes
_ROWS_AT_ONCE = 8  # rows of memory that are copied together, in the order of memory


class Side(NamedTuple):
    """A factor seen from its own dimension: the rows of the left one, the columns of the right one.

    Attributes
    ----------
    start : int
        Address of its first element.
    along, deep : int
        Bytes from one row or column to the next, and from one step of depth to the next; one of them is 4.
    size : int
        Its rows or columns.
    width : int
        Rows or columns of a panel.
    """

    start: int
    along: int
    deep: int
    size: int
    width: int


@jit
def padded_depth(depth):
    """Return `depth` rounded up to whole turns of the tile's loop, of which there is at least one."""
    return max((depth + UNROLL - 1) // UNROLL, 1) * UNROLL


@jit
def _pack_singly(source, side, group, count, begin, depth, panel):
    """Pack a group of rows or columns one by one, from the step `begin` on: `count` that exist, the others zeros."""
    for k in range(begin, padded_depth(depth)):
        for x in range(group):
            value = np.float32(0)
            if x < count and k < depth:
                value = load(source + x * side.along + k * side.deep)
            store(panel + _FLOAT * (k * side.width + x), value)


@jit
def pack(side, first, count, top, depth, target):
    """Pack `count` rows or columns from `first` on, `depth` steps from `top` on, into panels at an address."""
    width = side.width
    group = min(width, LANES)
    source = side.start + first * side.along + top * side.deep
    panel_bytes = _FLOAT * width * padded_depth(depth)
    whole = count // group * group
    if side.along == _FLOAT:
        done = depth
        for block in range(0, depth, _ROWS_AT_ONCE):
            for i in range(0, whole, group):
                panel = target + i // width * panel_bytes + _FLOAT * (i % width)
                for k in range(block, min(block + _ROWS_AT_ONCE, depth)):
                    here, there = source + _FLOAT * i + k * side.deep, panel + _FLOAT * k * width
                    if width == ROWS:
                        copy_rows(here, there, _ROWS_AT_ONCE * side.deep)
                    else:
                        copy_columns(here, there, _ROWS_AT_ONCE * side.deep)
    else:
        done = depth // LANES * LANES
        for i in range(0, whole, group):
            panel = target + i // width * panel_bytes + _FLOAT * (i % width)
            for k in range(0, done, LANES):
                here, there = source + i * side.along + _FLOAT * k, panel + _FLOAT * k * width
                if width == ROWS:
                    transpose_rows(here, side.along, there, _FLOAT * LANES)
                else:
                    transpose_columns(here, side.along, there, _FLOAT * COLUMNS)
    for i in range(0, (count + width - 1) // width * width, group):
        panel = target + i // width * panel_bytes + _FLOAT * (i % width)
        _pack_singly(source + i * side.along, side, group, count - i, done if i < whole else 0, depth, panel)
