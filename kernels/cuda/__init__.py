"""What the CUDA variants share: device headers beside this file, and the arithmetic of launches."""

from __future__ import annotations

from typing import Any

__all__ = ["WIDE", "ceil_div", "wide"]

WIDE = (4, 8)  # elements that 128 bits hold: of float32, of bfloat16


def ceil_div(size: int, part: int) -> int:
    """Return how many parts of `part` elements cover `size` elements."""
    return -(-size // part)


def wide(array: Any) -> int:
    """Return how many elements of an array 128 bits hold, which a kernel knows as ``Wide::SIZE``."""
    return 16 // array.dtype.itemsize
