"""``python -m harness.proof.answer_process``: makes answer keys beside a process that draws, calls and compares.

Importing torch takes as long as many a proof, and what it computes keeps a core busy: in a process of its own neither takes
time from others. A key that was made once is kept on disk, under a name that follows from all that it depends on, and as long
as none has to be made, there is no such process: who changes a kernel and proves it again does not wait for torch.

Variants are never imported here, and what is kept says no more than the definition, which a variant could read as well.
"""

from __future__ import annotations

import argparse
import hashlib
import os
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

from harness.proof.oracle import load
from harness.proof.tolerance import Reference, refer
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

__all__ = ["AnswerProcess", "main"]

FOLDER = ROOT / ".cache" / "answers"
ROOM = 1 << 29  # bytes on disk; what was used longest ago goes first
MAKERS = ("harness/proof", "registry")  # folders of the code that keys come from
LARGEST = 1 << 20  # elements of all outputs: larger keys are not kept
UNUSABLE = (OSError, sqlite3.Error, diskcache.Timeout)


class _Kept:
    """Keys on disk; where that cannot be read or written, there are none."""

    def __init__(self, folder: Path) -> None:
        self._cache: diskcache.Cache | None = None
        with suppress(*UNUSABLE):
            self._cache = diskcache.Cache(folder, size_limit=ROOM, eviction_policy="least-recently-used")

    def get(self, name: str) -> Reference | None:
        try:
            found: object = self._cache and self._cache.get(name)
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
    """Makes one answer key at a time, for one thread, in a process that starts with the first that is not found on disk."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._kept = _Kept(folder)
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
        """Return what `harness.proof.tolerance.refer` returns, and raise what that raises.

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
            self._kept.add(name, key)
        return key

    def _make(self, op: Op, problem: Problem, values: Values) -> Reference:
        talk = self._talk or self._start()
        try:
            talk.send((op.name, problem, values))
            answer: Reference | Exception = talk.recv()
        except (EOFError, OSError):
            if self._stopped:
                raise CancelledError from None
            raise CrucibleError("the process that makes answer keys ended; its own message stands above") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> Connection:
        with self._lock:
            if self._stopped:
                raise CancelledError
            self._talk, theirs = Pipe()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "harness.proof.answer_process", f"--pipe={theirs.fileno()}"],
                    cwd=ROOT,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env=os.environ | {"OMP_WAIT_POLICY": "passive"},  # it shares the cores
                    process_group=0,  # Ctrl-C is its owner's to hear
                )
            return self._talk


@cache
def _code_of(op: Op) -> bytes:
    """Return what all keys of an op depend on: its contract, the code that makes them, the libraries, and the CPU."""
    digest = hashlib.blake2b(f"{contract_hash(op)} {machine_key()} {versions('sim')} torch {version('torch')}".encode())
    for folder in MAKERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.digest()


def _name(op: Op, problem: Problem, values: Values) -> str:
    digest = hashlib.blake2b(_code_of(op), digest_size=32)
    digest.update(f"{op.name} {problem}".encode())
    for name, array in values.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Make keys until the other end of the pipe is closed."""
    parser = argparse.ArgumentParser(prog="python -m harness.proof.answer_process", description=__doc__)
    parser.add_argument("--pipe", type=int, required=True, help="inherited end of a pipe")
    options = parser.parse_args(argv)
    load()
    table = discover()
    with Connection(options.pipe) as talk, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            name, problem, values = talk.recv()
            try:
                answer: Reference | Exception = refer(table.op(name), problem, values)
            except Exception as error:  # noqa: BLE001 (told where the key is asked for)
                answer = error
            talk.send(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
