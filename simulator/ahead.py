"""Compiles kernels before they are launched: forked and later processes find them in the cache."""

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


def compile_kernels(kernels: Iterable[tuple[Path, tuple[str, ...], str]], *, include: tuple[Path, ...] = ()) -> None:
    """Compile kernels for every mode, unless the cache has them.

    A kernel that cannot be compiled is skipped: its launch raises the error.

    Parameters
    ----------
    kernels
        The file, the options of the compiler and the name of each kernel.
    include
        As for `Module.from_source`.
    """
    target = Target.this_machine()

    @cache
    def digest(source: Path, options: tuple[str, ...]) -> str:
        return digest_of(compile_to_ptx(source, options=options, include=include))

    @cache
    def module(source: Path, options: tuple[str, ...]) -> Module:
        return Module.from_source(source, options=options, include=include, target=target)

    for (source, options, name), mode in itertools.product(kernels, reversed(MODES)):
        with suppress(SimulatorError):
            entry = path_of(KERNELS, digest(source, options), name, checked=mode == "checked", native=target.native)
            if not entry.exists():
                module(source, options).kernel(name).program(mode)


def compile_ahead() -> None:
    """Compile the native library that kernels call, or read it from the cache; processes that are forked later inherit it.

    One process at a time compiles, so that the others find its result on disk. Old files of the cache are deleted.

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
    except OSError:  # the cache is not writable, so no process would find the result
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
