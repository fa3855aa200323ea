"""Compiling ahead what every kernel's launches call, in two processes at once: a first run waits half as long."""

from __future__ import annotations

import fcntl
import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.clang import CACHE
from simulator.prepared import without_collector
from simulator.runtime.scheduler import compile_run_grid
from simulator.runtime.support import SUPPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["compile_ahead"]


def compile_ahead() -> None:
    """Compile the scheduler and the checks of accesses and warp barriers, or read them from disk.

    Processes that are forked afterwards have them too. One process at a time compiles; the others then find its work on disk.
    """
    with _alone(), without_collector():
        _load("check_warp_barrier")  # a small one, with which numba sets itself up for both processes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's BLAS has threads, and survives a fork
            child = os.fork()
        if child == 0:
            try:
                _load("check_access")
            finally:
                os._exit(0)  # what went wrong is told where it is needed
        compile_run_grid()
        _load("check_store")  # it calls much of what the other process has compiled by now
        os.waitpid(child, 0)
    _load("check_access")


def _load(*names: str) -> None:
    for name in names:
        SUPPORT[name].address  # noqa: B018 (it is compiled where it is asked for)


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "compiling.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
