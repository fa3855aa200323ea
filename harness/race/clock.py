"""The clock inside a contestant: nanoseconds per call, and a wait after each turn until its thread pools sleep.

The threads of OpenMP and OpenBLAS keep spinning after their work is done, on cores that the next contestant needs. A passive
wait policy would stop the spinning but slow the baseline down, so the race leaves the environment unchanged and waits.
"""

from __future__ import annotations

import gc
from time import perf_counter_ns, process_time_ns, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["settle", "time_calls"]

STEP_S = 0.0005
IDLE_SHARE = 0.1
LONGEST_S = 0.25


def time_calls(calls: Sequence[Callable[[], object]]) -> float:
    """Run `calls` one after the other and return the average nanoseconds of a call."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = perf_counter_ns()
        for call in calls:
            call()
        return (perf_counter_ns() - start) / len(calls)
    finally:
        if collecting:
            gc.enable()


def settle(longest_s: float = LONGEST_S) -> float:
    """Sleep until no thread of this process uses a core, at most `longest_s`; return the seconds waited."""
    start = perf_counter_ns()
    while True:
        wall, used = perf_counter_ns(), process_time_ns()
        sleep(STEP_S)
        now = perf_counter_ns()
        idle = process_time_ns() - used < IDLE_SHARE * (now - wall)
        if idle or now - start > longest_s * 1e9:
            return (now - start) / 1e9
