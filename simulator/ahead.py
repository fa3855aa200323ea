"""Compiling ahead of launches, so that processes which are forked or come later need not."""

from __future__ import annotations

import fcntl
import itertools
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from simulator.clang import CACHE, compile_to_ptx
from simulator.codegen.compile import Target
from simulator.errors import SimulatorError
from simulator.files import tidy
from simulator.module import KERNELS, MODES, Module, digest_of
from simulator.native.library import library
from simulator.prepared import path_of

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
    """Compile what kernels call, or read it from disk; processes that are forked afterwards have it too.

    One process at a time compiles; the others then find its work on disk. What was kept there and not used for long is removed.

    Raises
    ------
    CompileError
        There is no compiler.
    """
    tidy(CACHE)
    with _alone():
        library()


@contextmanager
def _alone() -> Iterator[None]:
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        file = (CACHE / "compiling.lock").open("w")
    except OSError:  # a cache that cannot be written: nobody would find the work
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
