"""How flash attention takes the columns of one head out of rows that hold all heads."""

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

    Beside each row lies that of the next head: it is asked for now, since a row is too short for the machine to guess it.
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
