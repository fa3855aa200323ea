"""GELU on what the packed matrix product has just computed, and the factor of its gradient."""

from __future__ import annotations

import numpy as np
from numba import carray

from kernels.simd import jit
from kernels.simd.gemm_intrinsics import as_floats
from kernels.simd.math import exp

__all__ = ["BACKWARD", "FORWARD", "NONE", "apply_epilogue"]

NONE, FORWARD, BACKWARD = 0, 1, 2

# gelu(x) = x / 2 (1 + tanh u) = x / (1 + exp(-2u)) with u = sqrt(2/pi) (x + 0.044715 x**3).
_LINEAR = np.float32(2 * np.sqrt(2 / np.pi))
_CUBIC = np.float32(2 * np.sqrt(2 / np.pi) * 0.044715)
_ZERO, _ONE, _THREE = np.float32(0), np.float32(1), np.float32(3)
_FAR = np.float32(256)  # the square of 16, from where on the slope is 0 or 1 to the last bit


@jit
def _gelu(x, y):
    for j in range(x.size):
        y[j] = x[j] / (_ONE + exp(-x[j] * (_LINEAR + _CUBIC * x[j] * x[j])))


@jit
def _scale_by_slope(x, y):
    for j in range(x.size):
        size = abs(x[j])
        square = size * size
        square = _FAR if square > _FAR else square  # noqa: FURB136 (min would lose a NaN)
        power = exp(-size * (_LINEAR + _CUBIC * square))  # at most 1, so no product with it overflows
        gate = _ONE / (_ONE + power)
        rest = power * gate
        bump = size * gate * rest * (_LINEAR + _THREE * _CUBIC * square)
        y[j] *= gate + bump if x[j] > _ZERO else rest - bump


@jit
def apply_epilogue(kind, result, other, row, rows, columns):
    """Set `other` to the GELU of the result, or multiply the result by GELU's slope at `other`.

    Both are blocks of rows x columns floats, at two addresses, with the same stride `row` in bytes.
    """
    for i in range(rows):
        here = carray(as_floats(result + i * row), (columns,))
        there = carray(as_floats(other + i * row), (columns,))
        if kind == FORWARD:
            _gelu(here, there)
        else:
            _scale_by_slope(there, here)
