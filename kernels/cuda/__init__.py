"""Shared code of the CUDA variants: device headers beside this file, and the arithmetic of launches."""

from __future__ import annotations

from typing import Any

__all__ = ["PACKED_SIZES", "ceil_div", "packed_size"]

PACKED_SIZES = (4, 8)  # elements that 128 bits hold: of float32, of bfloat16


def ceil_div(size: int, part: int) -> int:
    """Return how many parts of `part` elements cover `size` elements."""
    return -(-size // part)


def packed_size(array: Any) -> int:
    """Return how many elements of an array 128 bits hold, which a kernel knows as ``Packed128::SIZE``."""
    return 16 // array.dtype.itemsize
