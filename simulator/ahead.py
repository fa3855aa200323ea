"""Compiling ahead, in a process beside the one that waits: a first run waits half as long."""

from __future__ import annotations

import fcntl
import itertools
import os
import warnings
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from simulator.clang import CACHE, compile_to_ptx
from simulator.codegen.compile import Target
from simulator.errors import SimulatorError
from simulator.files import tidy
from simulator.module import KERNELS, MODES, Module, digest_of
from simulator.prepared import path_of, without_collector
from simulator.runtime.scheduler import compile_run_grid
from simulator.runtime.support import SUPPORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["compile_ahead", "compile_kernels"]


def compile_kernels(wanted: Iterable[tuple[Path, tuple[str, ...], str]], *, include: tuple[Path, ...] = ()) -> None:
    """Compile kernels for every mode, unless that is on disk; what cannot be compiled is left to a launch to tell.

    Parameters
    ----------
    wanted
        Their files, the options to compile with, and their names.
    include
        As for `Module.from_source`.
    """
    target = Target.host()

    @cache
    def digest(source: Path, options: tuple[str, ...]) -> str:
        return digest_of(compile_to_ptx(source, options=options, include=include))

    @cache
    def module(source: Path, options: tuple[str, ...]) -> Module:
        return Module.from_source(source, options=options, include=include, target=target)

    for (source, options, name), mode in itertools.product(wanted, reversed(MODES)):
        with suppress(SimulatorError):
            kept = path_of(KERNELS, digest(source, options), name, checked=mode == "checked", native=target.native)
            if not kept.exists():
                module(source, options).kernel(name).program(mode)


def compile_ahead() -> None:
    """Compile the scheduler and the checks of accesses and warp barriers, or read them from disk.

    Processes that are forked afterwards have them too. One process at a time compiles; the others then find its work on disk.
    What was kept there and not used for long is removed.
    """
    tidy(CACHE)
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
