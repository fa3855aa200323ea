"""Kernels read from PTX and translated, kept on disk: what a process needs before its first launch is then only loaded."""

from __future__ import annotations

import gc
import hashlib
import pickle
import tempfile
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.codegen.translate import translate
from simulator.runtime.variables import lay_out_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.codegen.translate import Translation
    from simulator.ptx.model import Kernel, Module
    from simulator.runtime.variables import KernelMemory, ModuleMemory

__all__ = ["Prepared", "prepare", "without_collector"]

_FAST = 1  # of zlib's levels: the text of a translation shrinks to a tenth with any of them


@dataclass(frozen=True, slots=True)
class Prepared:
    """A kernel as the parser leaves it, where its variables lie, and its translation for one mode."""

    kernel: Kernel
    layout: KernelMemory
    translation: Translation


def prepare(
    module: Module, name: str, memory: ModuleMemory, *, checked: bool, native: bool, digest: str, folder: Path
) -> Prepared:
    """Return a kernel that is ready to be compiled.

    Parameters
    ----------
    module, memory
        The kernel's module and its variables.
    checked, native
        As for `translate`.
    digest
        Of the module's text; empty if nothing is to be kept.
    folder
        Where to keep it.

    Raises
    ------
    UnsupportedInstruction
        At the first instruction that is not simulated.
    """
    key = hashlib.sha256(f"{digest} {name} {checked} {native} {_version()}".encode()).hexdigest()
    path = folder / f"{key[:32]}.kernel"
    with without_collector():
        if digest and (kept := _read(path)):
            return kept
        kernel = module.kernels[name]
        layout = lay_out_kernel(module, kernel, memory)
        made = Prepared(kernel, layout, translate(kernel, layout.places, checked=checked, native=native))
        if digest:
            _write(path, made)
    return made


def _read(path: Path) -> Prepared | None:
    with suppress(Exception):  # not there, cut off, or of other classes: it is made anew
        found = pickle.loads(zlib.decompress(path.read_bytes()))  # noqa: S301 (our own file)
        return found if isinstance(found, Prepared) else None
    return None


def _write(path: Path, made: Prepared) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(zlib.compress(pickle.dumps(made, pickle.HIGHEST_PROTOCOL), _FAST))
    Path(file.name).replace(path)


@cache
def _version() -> str:
    """Return the digest of the simulator's own sources: a kernel that another version prepared is not this one's."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("**/*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


@contextmanager
def without_collector() -> Iterator[None]:
    """Spare the search for garbage: it is a third of the time where many objects are made to stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
