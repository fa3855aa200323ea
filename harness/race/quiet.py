"""Whether other processes compute on the cores that a race uses, and how loaded the machine is.

Each thread of a race computes on registers for some milliseconds and compares the processor time that it got with the time that
passed. On a quiet machine the two agree. A neighbour on one of the cores, or a limit on the processor time of a container,
takes its share, whatever the clock rate of the cores and however they share their units.
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
    """Compute without Python's lock and without memory."""
    hashlib.pbkdf2_hmac("sha256", b"race", b"quiet", iterations)


def _least_share(threads: int, iterations: int) -> float:
    """Return the share of a core that the thread got that got least."""
    together, shares = Barrier(threads), [0.0] * threads

    def work(number: int) -> None:
        together.wait()
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
    """Return the share of a core that each of `threads` threads gets while all of them compute: 1 on a quiet machine."""
    start = thread_time_ns()
    _compute(TRIAL_ITERATIONS)
    iterations = max(int(TRIAL_ITERATIONS * SPAN_NS / max(thread_time_ns() - start, 1)), 1)
    return median(_least_share(threads, iterations) for _ in range(REPEATS))


def load_seen() -> str:
    """Return how busy this process's cores are while it sleeps, in words."""
    cores = sorted(os.sched_getaffinity(0))
    shares = psutil.cpu_percent(interval=WATCHED_S, percpu=True)
    busy = sum(shares[core] for core in cores if core < len(shares)) / 100
    return f"other processes keep {busy:.1f} of {len(cores)} cores busy, load average {os.getloadavg()[0]:.1f}"
