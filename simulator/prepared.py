"""A cache on disk of parsed and translated kernels: a later process only loads them."""

from __future__ import annotations

import gc
import hashlib
import pickle
import shutil
import zlib
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.codegen.translate import translate
from simulator.facts import facts_of
from simulator.files import read_and_mark, write_atomically
from simulator.variables import lay_out_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.facts import Facts
    from simulator.ptx.model import Kernel, Module
    from simulator.variables import KernelMemory, ModuleMemory

__all__ = ["Prepared", "path_of", "prepare"]

_FAST = 1  # of zlib's levels: every level compresses the similar instructions of a kernel well


class Prepared:
    """A kernel ready to be compiled for one mode: the facts that each launch needs, and the whole kernel, packed until its use.

    Attributes
    ----------
    facts
        The facts that each launch needs.
    """

    def __init__(self, facts: Facts, packed: bytes, *, native: bool) -> None:
        self.facts, self._packed, self._native = facts, packed, native

    @classmethod
    def of(cls, kernel: Kernel, memory: KernelMemory, *, checked: bool, native: bool) -> Prepared:
        """Return a kernel as the parser leaves it, translated; `memory` has the places of its variables."""
        translation = translate(kernel, memory.places, checked=checked, native=native)
        packed = zlib.compress(pickle.dumps(kernel, pickle.HIGHEST_PROTOCOL), _FAST)
        prepared = cls(facts_of(kernel, memory, translation), packed, native=native)
        prepared.kernel, prepared.texts = kernel, translation.texts
        return prepared

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel."""
        with _without_collector():
            kernel: Kernel = pickle.loads(zlib.decompress(self._packed))  # noqa: S301 (our own file)
        return kernel

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Its LLVM IR; a kernel from the cache is translated again, which is rare, since its object code is cached, too."""
        with _without_collector():
            places, checked = self.facts.memory.places, self.facts.checked
            return translate(self.kernel, places, checked=checked, native=self._native).texts

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields to store, without the unpacked kernel and its texts."""
        return {"facts": self.facts, "_packed": self._packed, "_native": self._native}


def path_of(folder: Path, digest: str, name: str, *, checked: bool, native: bool) -> Path:
    """Return the cache file of a kernel of the module with this digest."""
    key = hashlib.sha256(f"{digest} {name} {checked} {native}".encode()).hexdigest()
    return folder / VERSION[:16] / f"{key[:32]}.kernel"


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
        Of the module's text; empty for no cache.
    folder
        The folder of the cache.

    Raises
    ------
    CompileError
        The kernel's body cannot be read.
    UnsupportedInstruction
        At the first instruction that is not simulated.
    """
    path = path_of(folder, digest, name, checked=checked, native=native)
    with _without_collector():
        cached = _read(path) if digest else None
        if cached is not None and (cached.facts.signature.name, cached.facts.checked) == (name, checked):
            return cached
        kernel = module.kernels[name]
        layout = lay_out_kernel(module, kernel, memory)
        prepared = Prepared.of(kernel, layout, checked=checked, native=native)
        if digest:
            _store(path, prepared)
    return prepared


def _read(path: Path) -> Prepared | None:
    with suppress(Exception):  # no such file, or a truncated one: the caller translates again
        prepared = pickle.loads(read_and_mark(path))  # noqa: S301 (our own file)
        return prepared if isinstance(prepared, Prepared) else None
    return None


def _store(path: Path, prepared: Prepared) -> None:
    """Write a kernel; the first kernel of a version of the simulator deletes the folders of other versions."""
    with suppress(OSError):  # a cache that cannot be written is no reason to stop
        if not path.parent.exists() and path.parent.parent.exists():
            for other in path.parent.parent.iterdir():
                shutil.rmtree(other, ignore_errors=True)
        write_atomically(path, pickle.dumps(prepared, pickle.HIGHEST_PROTOCOL))


def _version() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("**/*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


VERSION = _version()
"""Digest of the simulator's sources as they are imported; a kernel that another version prepared is not loaded."""


@contextmanager
def _without_collector() -> Iterator[None]:
    """Turn the garbage collector off: it takes a third of the time while many long-lived objects are created."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
