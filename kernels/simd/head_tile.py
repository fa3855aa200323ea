"""Copies of the columns of one head from rows that hold all heads, for flash attention."""

import numpy as np

from kernels.simd import jit
from kernels.simd.strided_tile import prefetch

__all__ = ["LINE", "copy_columns", "round_up"]

LINE = 16  # floats of a cache line
_ZERO = np.float32(0)
_MAGNITUDE, _INFINITY_BITS = np.int32(0x7FFFFFFF), np.int32(0x7F800000)


@jit
def round_up(size, unit):
    """Return the smallest multiple of `unit` that is not below `size`."""
    return (size + unit - 1) // unit * unit


@jit
def copy_columns(rows, column, target, size):
    """Copy columns of `rows` into the corner of `target`, zeros around them; return whether all are finite.

    The row of the next head follows in memory. It is prefetched here, since a row is too short for the hardware prefetcher.
    """
    largest = np.int32(0)
    for i in range(rows.shape[0]):
        source = rows[i, column : column + size]
        bits = source.view(np.int32)
        for d in range(0, size, LINE):
            prefetch(rows, i, column + size + d)
        for d in range(size):
            target[i, d] = source[d]
            largest = max(largest, np.int32(bits[d] & _MAGNITUDE))
        target[i, size:] = _ZERO
    target[rows.shape[0] :] = _ZERO
    return largest < _INFINITY_BITS
