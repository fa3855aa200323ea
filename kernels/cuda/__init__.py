"""What the CUDA variants share: device headers beside this file, and the arithmetic of launches."""

from __future__ import annotations

__all__ = ["ceil_div"]


def ceil_div(size: int, part: int) -> int:
    """Return how many parts of `part` elements cover `size` elements."""
    return -(-size // part)
