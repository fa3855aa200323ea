"""The layout of the print buffer: generated code writes calls of printf into it, Python formats them after the launch."""

from __future__ import annotations

import numpy as np

__all__ = ["PRINTED", "PRINT_ARGUMENT_BYTES", "PRINT_HEAD_BYTES"]

PRINT_ARGUMENT_BYTES = 128
PRINTED = np.dtype([("format", np.int64), ("lane", np.int64), ("arguments", np.int64, (PRINT_ARGUMENT_BYTES // 8,))])
"""One call of printf: the address of its format, the lane, and the values."""
PRINT_HEAD_BYTES = 16
"""Bytes before the first call: the number of calls so far, and the largest number of calls that the buffer can hold."""
