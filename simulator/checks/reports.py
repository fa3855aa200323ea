"""Reports of the checker: one row per kind and pair of instructions, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numba import carray, int64

from simulator.checks.layout import REPORT_FIELDS, Field
from simulator.runtime.jit import as_pointer, compiled

if TYPE_CHECKING:
    from simulator.runtime.jit import Longs

__all__ = ["report"]

_REPORTS, _COUNT, _LIMIT = Field.REPORTS.value, Field.REPORT_COUNT.value, Field.REPORT_LIMIT.value


@compiled
def report(
    check: Longs, code: int, index: int, other_index: int, thread: int, other_thread: int, offset: int, size: int
) -> None:
    """Write a report, or count one more of a kind already there; threads are block * 1024 + thread."""
    rows = carray(as_pointer(check[_REPORTS]), (check[_LIMIT], REPORT_FIELDS), int64)
    for row in range(check[_COUNT]):
        if rows[row, 0] == code and rows[row, 1] == index and rows[row, 2] == other_index:
            rows[row, 7] += 1
            return
    row = check[_COUNT]
    if row < check[_LIMIT]:
        rows[row, 0], rows[row, 1], rows[row, 2] = code, index, other_index
        rows[row, 3], rows[row, 4] = thread, other_thread
        rows[row, 5], rows[row, 6], rows[row, 7] = offset, size, 1
        check[_COUNT] = row + 1
