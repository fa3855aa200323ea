"""``python -m harness.proof.reference.process``: computes reference outputs beside a process that draws, calls and compares.

To import torch takes as long as many a proof, and to compute with torch keeps a core busy. In a process of their own, import
and computation delay no other work. Results are stored on disk under a name that depends on the code, the contract and the
values. The process starts only when a result is not on disk: a user who changes a kernel and proves it again need not wait
for torch.

Processes that call variants may not write to this folder (`sandbox.confinement`), and they receive no reference outputs. They
could read the folder, as they could read the reference itself.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
import sqlite3
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import diskcache
import numpy as np

from harness.child import Child, CommandFailed, Ended, Server, Stopped
from harness.proof.reference.oracle import load
from harness.proof.reference.tolerance import ReferenceOutputs, compute_reference
from harness.proof.sandbox.confinement import can_confine
from registry.errors import CrucibleError
from registry.fingerprint import contract_hash
from registry.machine import machine_key, versions
from registry.paths import ROOT
from registry.table import discover

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from registry.op import Op
    from registry.problem import Problem

    Values = dict[str, NDArray[Any]]

__all__ = ["ReferenceProcess", "cache_folder", "digest_of_code", "main"]

FOLDER = ROOT / ".cache" / "reference"
ROOM = 1 << 29  # bytes on disk; the least recently used results are removed first
SOURCES = ("harness/proof/**/*.py", "registry/*.py", "kernels/*/spec.py")
LARGEST = 1 << 16  # elements of all outputs; larger results are not stored
UNUSABLE = (OSError, sqlite3.Error, diskcache.Timeout)


def _opened(folder: Path) -> diskcache.Cache:
    try:
        return diskcache.Cache(folder, size_limit=ROOM, eviction_policy="least-recently-used")
    except sqlite3.OperationalError:  # another process uses it, or it belongs to another user
        raise
    except sqlite3.DatabaseError:  # damaged
        shutil.rmtree(folder)
        return diskcache.Cache(folder, size_limit=ROOM, eviction_policy="least-recently-used")


class _DiskCache:
    """Reference outputs on disk; a folder that cannot be read or written counts as empty."""

    def __init__(self, folder: Path | None) -> None:
        self._cache: diskcache.Cache | None = None
        with suppress(*UNUSABLE):
            self._cache = None if folder is None else _opened(folder)

    def get(self, name: str) -> ReferenceOutputs | None:
        try:
            stored: object = None if self._cache is None else self._cache.get(name)
        except Exception:  # noqa: BLE001 (a damaged pickle may raise anything; the result is computed again)
            return None
        return stored if isinstance(stored, ReferenceOutputs) else None

    def add(self, name: str, reference: ReferenceOutputs) -> None:
        with suppress(*UNUSABLE):
            if self._cache is not None and sum(expected.value.size for expected in reference.outputs.values()) <= LARGEST:
                self._cache.set(name, reference)

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()


class ReferenceProcess(Child):
    """Computes the reference outputs of one problem at a time, for one thread, in a process that starts when it is needed.

    Parameters
    ----------
    folder : Path, optional
        The folder of results on disk, see `cache_folder`; without one, nothing is stored.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._disk, self._stores = _DiskCache(folder), False
        environment = {"OMP_WAIT_POLICY": "passive"}  # other processes need the cores
        super().__init__("harness.proof.reference.process", environment=environment, encoding=pickle)

    def close(self, seconds: float = 0.0) -> None:
        """End the process, and wait until it has ended."""
        super().close(seconds)
        self._disk.close()

    def compute_reference(self, op: Op, problem: Problem, values: Values) -> ReferenceOutputs:
        """Return the reference outputs of a problem; its parameters are those of `tolerance.compute_reference`.

        Raises
        ------
        CancelledError
            The process has been stopped.
        CrucibleError
            The computation failed, or the process ended by itself.
        """
        name = _name(op, problem, values)
        reference = self._disk.get(name)
        if reference is None:
            reference = self._compute(op, problem, values)
            if self._stores:
                self._disk.add(name, reference)
        return reference

    def _compute(self, op: Op, problem: Problem, values: Values) -> ReferenceOutputs:
        try:
            code, reference = self.ask("compute", name=op.name, problem=problem, values=values)
        except Stopped:
            raise CancelledError from None
        except CommandFailed as error:
            raise CrucibleError(f"the reference outputs of {op.name} {problem} cannot be computed: {error}") from None
        except Ended as ended:
            raise CrucibleError(f"the process that computes reference outputs {ended}; its own message is above") from None
        self._stores = code == CODE  # they differ if a file was changed between the starts of the two processes
        return cast("ReferenceOutputs", reference)


def cache_folder(*, gpu: bool = False) -> Path | None:
    """Return the folder of results on disk; None if the process of a variant could write there."""
    return FOLDER if can_confine() and not gpu else None


def digest_of_code(root: Path) -> bytes:
    """Return a hash of all that every result depends on: code, contracts, libraries and the instructions of this CPU."""
    digest = hashlib.blake2b(f"{machine_key()} {versions('sim')} torch {version('torch')}".encode())
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.digest()


CODE = digest_of_code(ROOT)  # of the code that this process imported
_contract = cache(contract_hash)


def _name(op: Op, problem: Problem, values: Values) -> str:
    digest = hashlib.blake2b(CODE, digest_size=32)
    digest.update(f"{_contract(op)} {op.name} {problem}".encode())
    for name, array in values.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def main() -> int:
    """Compute reference outputs until the owner closes the socket."""
    server = Server(pickle)
    load()
    table = discover()

    server.serve(compute=lambda name, problem, values: (CODE, compute_reference(table.op(name), problem, values)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
