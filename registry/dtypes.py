"""Dtypes of a problem: what its floats are stored in. Sums and functions of them are computed in float32 or better.

bfloat16 comes to numpy by the package ml_dtypes, whose arrays CuPy takes too (from version 14 on).
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["BFLOAT16", "DTYPES", "is_bfloat16", "is_float", "rounded_to"]

DTYPES = ("float32", "bfloat16")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def is_bfloat16(array: Any) -> bool:  # noqa: ANN401 (an array of any library, or a scalar)
    """Return whether an argument of a call is stored in bfloat16."""
    return bool(getattr(array, "dtype", None) == BFLOAT16)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether elements of this dtype are floating-point numbers: numpy does not count bfloat16 among its own."""
    return dtype.kind == "f" or dtype == BFLOAT16


def rounded_to(dtype: np.dtype[Any], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return float64 values as they are after being stored in `dtype`."""
    with np.errstate(all="ignore"):
        return values.astype(dtype).astype(np.float64)
