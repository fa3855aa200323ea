"""``python -m harness.proof.reference.process``: makes answer keys beside a process that draws, calls and compares.

Importing torch takes as long as many a proof, and what it computes keeps a core busy: in a process of its own neither takes
time from others. A key that was made once is kept on disk, under a name that follows from all that it depends on, and as long
as none has to be made, there is no such process: who changes a kernel and proves it again does not wait for torch.

Variants are called in processes that may not write there (`sandbox.confinement`), and are not sent what is kept. They
could read it, as they could read the definition.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from multiprocessing.connection import Connection, Pipe
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import diskcache
import numpy as np

from harness.proof.reference.oracle import load
from harness.proof.reference.tolerance import Reference, refer
from harness.proof.sandbox.confinement import can_confine
from registry.errors import CrucibleError
from registry.fingerprint import contract_hash
from registry.machine import machine_key, versions
from registry.table import ROOT, discover

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from registry.op import Op
    from registry.problem import Problem

    Values = dict[str, NDArray[Any]]

__all__ = ["AnswerProcess", "digest_of_code", "kept_folder", "main"]

FOLDER = ROOT / ".cache" / "answers"
ROOM = 1 << 29  # bytes on disk; what was used longest ago goes first
MAKERS = ("harness/proof/**/*.py", "registry/*.py", "kernels/*/spec.py")
LARGEST = 1 << 16  # elements of all outputs: larger keys are not kept, which only a CPU meets
UNUSABLE = (OSError, sqlite3.Error, diskcache.Timeout)


def _opened(folder: Path) -> diskcache.Cache:
    try:
        return diskcache.Cache(folder, size_limit=ROOM, eviction_policy="least-recently-used")
    except sqlite3.OperationalError:  # in use, or not ours
        raise
    except sqlite3.DatabaseError:  # damaged
        shutil.rmtree(folder)
        return diskcache.Cache(folder, size_limit=ROOM, eviction_policy="least-recently-used")


class _Kept:
    """Keys on disk; where that cannot be read or written, there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._cache: diskcache.Cache | None = None
        with suppress(*UNUSABLE):
            self._cache = None if folder is None else _opened(folder)

    def get(self, name: str) -> Reference | None:
        try:
            found: object = None if self._cache is None else self._cache.get(name)
        except Exception:  # noqa: BLE001 (a damaged pickle may raise anything; the key is made again)
            return None
        return found if isinstance(found, Reference) else None

    def add(self, name: str, key: Reference) -> None:
        with suppress(*UNUSABLE):
            if self._cache is not None and sum(expected.value.size for expected in key.outputs.values()) <= LARGEST:
                self._cache.set(name, key)

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()


class AnswerProcess:
    """Makes one answer key at a time, for one thread, in a process that starts with the first that is not found on disk.

    Parameters
    ----------
    folder : Path, optional
        Where keys are kept; see `kept_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._kept, self._keeps = _Kept(folder), False
        self._lock, self._stopped = Lock(), False
        self._process: subprocess.Popen[bytes] | None = None
        self._talk: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """End the process from any thread; who waits for a key gets `CancelledError`."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process, and wait until it has."""
        self.stop()
        if self._process is not None:
            self._process.wait()
        if self._talk is not None:
            self._talk.close()
        self._kept.close()

    def refer(self, op: Op, problem: Problem, values: Values) -> Reference:
        """Return what `harness.proof.reference.tolerance.refer` returns, and raise what that raises.

        Raises
        ------
        CancelledError
            The process has been stopped.
        CrucibleError
            The process ended of itself.
        """
        name = _name(op, problem, values)
        key = self._kept.get(name)
        if key is None:
            key = self._make(op, problem, values)
            if self._keeps:
                self._kept.add(name, key)
        return key

    def _make(self, op: Op, problem: Problem, values: Values) -> Reference:
        talk = self._talk or self._start()
        try:
            talk.send((op.name, problem, values))
            code, answer = talk.recv()
        except (EOFError, OSError):
            if self._stopped:
                raise CancelledError from None
            raise CrucibleError(f"the process that makes answer keys {self._end()}") from None
        if isinstance(answer, Exception):
            raise answer
        self._keeps = code == CODE  # else a file was changed between the start of this process and that of the other
        made: Reference = answer
        return made

    def _start(self) -> Connection:
        with self._lock:
            if self._stopped:
                raise CancelledError
            ours, theirs = Pipe()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "harness.proof.reference.process", f"--pipe={theirs.fileno()}"],
                    cwd=ROOT,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env=os.environ | {"OMP_WAIT_POLICY": "passive"},  # it shares the cores
                    process_group=0,  # Ctrl-C is its owner's to hear
                )
            self._talk = ours
            return ours

    def _end(self) -> str:
        """Forget the process, and return how it ended."""
        self._talk, process = None, self._process
        code = 0 if process is None else process.wait()
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}; is there enough memory?"
        return f"ended with code {code}; its own message stands above"


def kept_folder(*, gpu: bool = False) -> Path | None:
    """Return where keys are kept that evidence may rest on; None where a variant that is called could write there."""
    return FOLDER if can_confine() and not gpu else None


def digest_of_code(root: Path) -> bytes:
    """Return what all keys depend on: the code that makes them, all contracts, libraries, and the instructions of this CPU."""
    digest = hashlib.blake2b(f"{machine_key()} {versions('sim')} torch {version('torch')}".encode())
    for pattern in MAKERS:
        for path in sorted(root.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.digest()


CODE = digest_of_code(ROOT)  # as this process imported it
_contract = cache(contract_hash)


def _name(op: Op, problem: Problem, values: Values) -> str:
    digest = hashlib.blake2b(CODE, digest_size=32)
    digest.update(f"{_contract(op)} {op.name} {problem}".encode())
    for name, array in values.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (it takes other arguments than it keeps)
        return CrucibleError(f"{type(error).__name__}: {error}")
    return error


def main(argv: list[str] | None = None) -> int:
    """Make keys until the other end of the pipe is closed."""
    parser = argparse.ArgumentParser(prog="python -m harness.proof.reference.process", description=__doc__)
    parser.add_argument("--pipe", type=int, required=True, help="inherited end of a pipe")
    options = parser.parse_args(argv)
    os.dup2(2, 1)
    load()
    table = discover()
    with Connection(options.pipe) as talk, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            name, problem, values = talk.recv()
            try:
                answer: Reference | Exception = refer(table.op(name), problem, values)
            except Exception as error:  # noqa: BLE001 (told where the key is asked for)
                answer = _sendable(error)
            talk.send((CODE, answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
