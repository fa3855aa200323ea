"""The clock inside a contestant: nanoseconds for each call, and a hand-over that waits until its thread pools sleep.

OpenMP's and OpenBLAS's threads go on spinning after their work is done, on the core that the next contestant needs. Their
environment is left as users have it (a passive wait policy would slow the yardstick down), so the spinning is waited out.
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
    """Run `calls` one after the other and return the nanoseconds one of them took on average."""
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
