"""The state that all code in a process shares, and that a variant must leave unchanged.

A kernel that flushes subnormals, sets numpy's error handling or takes all threads gives right results in its own process and
wrong or slow ones in the trainer's process, for itself and for other kernels.
"""

from __future__ import annotations

import builtins
import math
import os
import random
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ProcessState"]

SUBNORMAL = np.full(1, np.finfo(np.float32).smallest_normal)
PATCHABLE = (builtins, math, np, time)  # modules whose functions a variant could replace


def _half_of_smallest() -> float:
    return float((SUBNORMAL * np.float32(0.5))[0])


def _random_of_numpy() -> tuple[bytes, object]:
    _, words, *rest = np.random.get_state()  # noqa: NPY002 (the global generator is the shared one)
    return np.asarray(words).tobytes(), rest


def _threads_of_numba() -> int | None:
    numba = sys.modules.get("numba")
    return None if numba is None else int(numba.get_num_threads())


# Per name in messages, a function that returns a part of the state.
FACTS: dict[str, Callable[[], object]] = {
    "numpy's error handling": np.geterr,
    "numpy's random generator": _random_of_numpy,
    "Python's random generator": random.getstate,
    "the environment": lambda: dict(os.environ),
    "the working folder": os.getcwd,
    "how subnormal numbers are treated": _half_of_smallest,
    "the handlers of signals": lambda: [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
    "the trace function": lambda: (sys.gettrace(), sys.getprofile()),
    "Python's threads": lambda: sorted(thread.name for thread in threading.enumerate()),
}


class ProcessState:
    """The state of this process at the time of construction, for a later comparison."""

    def __init__(self) -> None:
        self._before = {name: look() for name, look in FACTS.items()}
        self._functions = {module: dict(vars(module)) for module in PATCHABLE}
        self._pools = ThreadpoolController().lib_controllers

    def changed(self, threads: int) -> str:
        """Return the names of the changed parts of the state; "" if none changed.

        Parameters
        ----------
        threads : int
            The number of threads that every pool was set to use.
        """
        changed = [name for name, look in FACTS.items() if look() != self._before[name]]
        for module, known in self._functions.items():
            now = vars(module)
            changed += [f"{module.__name__}.{name}" for name, value in known.items() if now.get(name) is not value]
        if _threads_of_numba() not in {None, threads} or any(pool.num_threads != threads for pool in self._pools):
            changed.append("the number of threads of a pool")
        return " and ".join(changed)
