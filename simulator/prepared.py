"""A cache on disk of kernels that were parsed and translated, so that a later process only loads them."""

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

_FAST = 1  # of zlib's levels: all of them shrink a kernel's many like instructions


class Prepared:
    """A kernel ready to be compiled for one mode: what launches ask for, and behind it, packed until then, all the rest.

    Attributes
    ----------
    facts
        What launches ask for.
    """

    def __init__(self, facts: Facts, packed: bytes, *, native: bool) -> None:
        self.facts, self._packed, self._native = facts, packed, native

    @classmethod
    def of(cls, kernel: Kernel, memory: KernelMemory, *, checked: bool, native: bool) -> Prepared:
        """Return a kernel as the parser leaves it, translated; `memory` says where its variables lie."""
        translation = translate(kernel, memory.places, checked=checked, native=native)
        packed = zlib.compress(pickle.dumps(kernel, pickle.HIGHEST_PROTOCOL), _FAST)
        made = cls(facts_of(kernel, memory, translation), packed, native=native)
        made.kernel, made.texts = kernel, translation.texts
        return made

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel."""
        with _without_collector():
            kernel: Kernel = pickle.loads(zlib.decompress(self._packed))  # noqa: S301 (our own file)
        return kernel

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Its LLVM IR; translated again where it was not just made, as what is compiled from it is kept too."""
        with _without_collector():
            places, checked = self.facts.memory.places, self.facts.checked
            return translate(self.kernel, places, checked=checked, native=self._native).texts

    def __getstate__(self) -> dict[str, Any]:
        """Return what is kept: neither the kernel twice nor its texts."""
        return {"facts": self.facts, "_packed": self._packed, "_native": self._native}


def path_of(folder: Path, digest: str, name: str, *, checked: bool, native: bool) -> Path:
    """Return where a kernel of the module with this digest is kept."""
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
        Of the module's text; empty if nothing is to be kept.
    folder
        Where to keep it.

    Raises
    ------
    CompileError
        The kernel's body cannot be read.
    UnsupportedInstruction
        At the first instruction that is not simulated.
    """
    path = path_of(folder, digest, name, checked=checked, native=native)
    with _without_collector():
        kept = _read(path) if digest else None
        if kept is not None and (kept.facts.signature.name, kept.facts.checked) == (name, checked):
            return kept
        kernel = module.kernels[name]
        layout = lay_out_kernel(module, kernel, memory)
        made = Prepared.of(kernel, layout, checked=checked, native=native)
        if digest:
            _keep(path, made)
    return made


def _read(path: Path) -> Prepared | None:
    with suppress(Exception):  # not there, or cut off: it is made anew
        found = pickle.loads(read_and_mark(path))  # noqa: S301 (our own file)
        return found if isinstance(found, Prepared) else None
    return None


def _keep(path: Path, made: Prepared) -> None:
    """Write a kernel; what other versions of the simulator kept goes as this one's folder comes."""
    with suppress(OSError):  # a cache that cannot be written is no reason to stop
        if not path.parent.exists() and path.parent.parent.exists():
            for other in path.parent.parent.iterdir():
                shutil.rmtree(other, ignore_errors=True)
        write_atomically(path, pickle.dumps(made, pickle.HIGHEST_PROTOCOL))


def _version() -> str:
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("**/*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


VERSION = _version()
"""Digest of the simulator's sources as they are imported: what another version prepared is not this one's."""


@contextmanager
def _without_collector() -> Iterator[None]:
    """Spare the search for garbage: it is a third of the time where many objects are made to stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
