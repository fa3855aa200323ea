"""Kernels read from PTX and translated, kept on disk: what a process needs before its first launch is then only loaded."""

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
from simulator.files import write_atomically
from simulator.runtime.variables import lay_out_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.codegen.translate import Translation
    from simulator.facts import Facts
    from simulator.ptx.model import Kernel, Module
    from simulator.runtime.variables import KernelMemory, ModuleMemory

__all__ = ["Prepared", "prepare", "without_collector"]

_FAST = 1  # of zlib's levels: the text of a translation shrinks to a tenth with any of them


class Prepared:
    """A kernel ready to be compiled for one mode: what launches ask for, and behind it, packed until then, all the rest.

    Attributes
    ----------
    facts
        What launches ask for.
    """

    def __init__(self, facts: Facts, packed: bytes) -> None:
        self.facts, self._packed = facts, packed

    @classmethod
    def of(cls, kernel: Kernel, memory: KernelMemory, translation: Translation) -> Prepared:
        """Return a kernel as the parser leaves it, where its variables lie, and its translation."""
        made = cls(facts_of(kernel, memory, translation), _pack((kernel, translation.texts)))
        made._rest = kernel, translation.texts
        return made

    @cached_property
    def _rest(self) -> tuple[Kernel, tuple[str, ...]]:
        with without_collector():
            rest: tuple[Kernel, tuple[str, ...]] = _unpack(self._packed)
        return rest

    @property
    def kernel(self) -> Kernel:
        """Return the kernel."""
        return self._rest[0]

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the LLVM IR."""
        return self._rest[1]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is kept: not the rest twice."""
        return {"facts": self.facts, "_packed": self._packed}


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
    key = hashlib.sha256(f"{digest} {name} {checked} {native}".encode()).hexdigest()
    path = folder / VERSION[:16] / f"{key[:32]}.kernel"
    with without_collector():
        kept = _read(path) if digest else None
        if kept is not None and (kept.facts.signature.name, kept.facts.checked) == (name, checked):
            return kept
        kernel = module.kernels[name]
        layout = lay_out_kernel(module, kernel, memory)
        made = Prepared.of(kernel, layout, translate(kernel, layout.places, checked=checked, native=native))
        if digest:
            _keep(path, made)
    return made


def _pack(content: object) -> bytes:
    return zlib.compress(pickle.dumps(content, pickle.HIGHEST_PROTOCOL), _FAST)


def _unpack(packed: bytes) -> Any:  # noqa: ANN401 (whatever was packed)
    return pickle.loads(zlib.decompress(packed))  # noqa: S301 (our own file)


def _read(path: Path) -> Prepared | None:
    with suppress(Exception):  # not there, or cut off: it is made anew
        found = pickle.loads(path.read_bytes())  # noqa: S301 (our own file)
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
def without_collector() -> Iterator[None]:
    """Spare the search for garbage: it is a third of the time where many objects are made to stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
