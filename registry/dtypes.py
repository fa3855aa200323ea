"""Dtypes of a problem: its float arrays are stored in one of them. Kernels compute sums and functions in float32 or better.

The package ml_dtypes adds bfloat16 to numpy. CuPy accepts this dtype from version 14 on.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["BFLOAT16", "DTYPES", "is_bfloat16", "is_float", "rounded_to"]

DTYPES = ("float32", "bfloat16")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def is_bfloat16(array: Any) -> bool:  # noqa: ANN401 (an array of any library, or a scalar)
    """Return whether an argument of a call is a bfloat16 array or scalar."""
    return bool(getattr(array, "dtype", None) == BFLOAT16)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is a floating-point dtype. Numpy does not count bfloat16 as one."""
    return dtype.kind == "f" or dtype == BFLOAT16


def rounded_to(dtype: np.dtype[Any], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return float64 values rounded to `dtype`, as float64."""
    with np.errstate(all="ignore"):
        return values.astype(dtype).astype(np.float64)
