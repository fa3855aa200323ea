"""Whether other processes compute on the cores that a race uses, and how loaded the machine is.

Each thread of a race computes without memory traffic for some milliseconds and compares its processor time with the elapsed
time. On a quiet machine the two are equal. Another process on one of the cores, or a container's limit on processor time,
lowers the processor time. The clock rate of the cores and their shared execution units do not change the comparison.
"""

from __future__ import annotations

import hashlib
import os
from statistics import median
from threading import Barrier, Thread
from time import perf_counter_ns, thread_time_ns

import psutil

__all__ = ["core_share", "load_seen"]

SPAN_NS = 20e6  # longer than the time slices of the scheduler
REPEATS = 5
TRIAL_ITERATIONS = 2000
WATCHED_S = 0.2


def _compute(iterations: int) -> None:
    """Compute without Python's global lock and without memory traffic."""
    hashlib.pbkdf2_hmac("sha256", b"race", b"quiet", iterations)


def _least_share(threads: int, iterations: int) -> float:
    """Run `threads` threads at once and return the smallest share of a core that one of them had."""
    barrier, shares = Barrier(threads), [0.0] * threads

    def work(number: int) -> None:
        barrier.wait()
        passed, used = perf_counter_ns(), thread_time_ns()
        _compute(iterations)
        shares[number] = (thread_time_ns() - used) / max(perf_counter_ns() - passed, 1)

    workers = [Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return min(shares)


def core_share(threads: int) -> float:
    """Return the smallest share of a core that one of `threads` computing threads has: 1 on a quiet machine."""
    start = thread_time_ns()
    _compute(TRIAL_ITERATIONS)
    iterations = max(int(TRIAL_ITERATIONS * SPAN_NS / max(thread_time_ns() - start, 1)), 1)
    return median(_least_share(threads, iterations) for _ in range(REPEATS))


def load_seen() -> str:
    """Return a message about the load of this process's cores, measured while the process sleeps."""
    cores = sorted(os.sched_getaffinity(0))
    shares = psutil.cpu_percent(interval=WATCHED_S, percpu=True)
    busy = sum(shares[core] for core in cores if core < len(shares)) / 100
    return f"other processes keep {busy:.1f} of {len(cores)} cores busy, load average {os.getloadavg()[0]:.1f}"
