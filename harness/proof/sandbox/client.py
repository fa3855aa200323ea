"""The parent's end of a worker process: it sends calls, and survives whatever the variant does to its process."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from harness.proof.sandbox.buffers import Memory
from harness.proof.sandbox.worker import LONGEST_MESSAGE
from registry.errors import CrucibleError
from registry.fingerprint import Snapshot
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.proof.sandbox.buffers import Buffers
    from registry.variant import Variant

__all__ = ["Closed", "Died", "Limits", "Raised", "Schedule", "Worker"]

STARTER = ThreadPoolExecutor(1, "starts workers")  # a worker ends with the thread that started it, and this one ends last


@dataclass(frozen=True)
class Limits:
    """What one call may take.

    Attributes
    ----------
    first_seconds : float
        For the first call of a variant, which may compile.
    seconds : float
        For every other call.
    memory : int
        Bytes that the variant's process may allocate of its own.
    """

    first_seconds: float = 120.0
    seconds: float = 30.0
    memory: int = 8 << 30


@dataclass(frozen=True)
class Schedule:
    """How a CUDA variant is run.

    Attributes
    ----------
    device : {"sim", "cuda"}
    mode : {"fast", "checked"}
        Of the simulator.
    order : {"ascending", "descending"} or int
        In which the simulator runs the warps; a number seeds a random order.
    """

    device: str = "sim"
    mode: str = "fast"
    order: str | int = "ascending"


class Raised(Exception):  # noqa: N818 (an outcome of a call, told to the battery)
    """The variant raised, or returned something: the message says what.

    Attributes
    ----------
    fault : str
        What the simulator found, such as ``race``; "" for an exception.
    """

    def __init__(self, message: str, fault: str = "") -> None:
        self.fault = fault
        super().__init__(message)


class Died(Exception):  # noqa: N818 (an outcome of a call, told to the battery)
    """The variant's process ended, or was ended as nothing else may run in it.

    Attributes
    ----------
    status : {"crashed", "hung", "failed"}
        ``failed`` if it changed what everybody in the process shares.
    """

    def __init__(self, status: str, message: str) -> None:
        self.status = status
        super().__init__(message)


class Closed(BaseException):
    """The worker's owner has closed it, from another thread: nothing that is under way is finished."""


class Worker:
    """One worker process and the memory shared with it; restarted whenever it is gone.

    Parameters
    ----------
    kernels_path : iterable of Path
        Folders of more variants.
    limits : Limits
    sources : Snapshot, optional
        The source files before any process imported them; by default taken now.
    """

    def __init__(
        self, kernels_path: Iterable[Path] = (), limits: Limits | None = None, sources: Snapshot | None = None
    ) -> None:
        self.kernels_path = tuple(kernels_path)
        self.limits = limits or Limits()
        self.sources = sources or Snapshot(self.kernels_path)
        self.memory = Memory()
        # What a variant writes beside the caches of compilers.
        self._temporary = tempfile.TemporaryDirectory(prefix="crucible-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._talk: socket.socket | None = None
        self._variant: Variant | None = None
        self._child = 0
        self._calls = 0
        self._ready = self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def calls(self) -> int:
        """How often the variant's process has been called."""
        return self._calls

    def check(self) -> None:
        """Raise `Closed` if its owner has ended it, from another thread."""
        if self._stopped:
            raise Closed

    def stop(self) -> None:
        """End the process from any thread; whoever waits for an answer gets `Closed`."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process and give the memory back."""
        self._stopped = True
        self._hang_up()
        self.memory.close()
        self._temporary.cleanup()

    def start(self) -> None:
        """Start the process without waiting for it: it imports what it needs beside the caller, who does the same."""
        if self._process is None and not self._stopped:
            self._spawn()

    def begin(self, variant: Variant, device: str, *, ahead: bool = False) -> None:
        """Have a process for `variant` ready, so that its first call need not wait; what goes wrong, that call tells.

        Parameters
        ----------
        ahead : bool
            Before its first call it compiles all kernels that run in the simulator, the last one first: a worker that compiles
            them as it is called meets it halfway.
        """
        with suppress(Died):
            self._begin(variant, device, ahead=ahead)

    def call(self, variant: Variant, buffers: Buffers, threads: int, schedule: Schedule | None = None) -> None:
        """Call `variant` on `buffers`, which have been filled.

        Parameters
        ----------
        schedule : Schedule, optional
            For a CUDA variant.

        Raises
        ------
        Raised
            It raised an exception or returned something.
        Died
            Its process crashed, exited, did not answer in time, or is not what it was.
        """
        if variant is not self._variant:
            self._begin(variant, schedule.device if schedule else "host")
        slots = [(s.name, s.offset, s.shape, s.dtype, s.role) for s in buffers.slots.values()]
        call = {"slots": slots, "params": buffers.problem.params, "size": buffers.size, "threads": threads}
        call["workspace"] = "workspace" in buffers.slots
        if schedule is not None:
            call["schedule"] = asdict(schedule)
        limit = self.limits.seconds if self._calls else self.limits.first_seconds
        self._calls += 1
        self.check()
        self._send(call)
        answer = self._receive(limit)
        self.check()
        if answer is None:
            self._kill_child()
            raise Died("hung", f"gave no answer within {limit:g} s")
        if "error" not in answer:
            self._variant = None
            raise Died("crashed", _farewell(answer.get("exited", 0)))
        if answer["error"]:
            if lost := answer.get("lost"):
                self.renew()
            if lost == "state":
                raise Died("failed", answer["error"])
            raise Raised(answer["error"], answer.get("fault", ""))

    def renew(self) -> None:
        """End the variant's process, so that the next call starts from a clean state."""
        if self._variant is not None:
            self._send("stop")
            if (self._receive(self.limits.seconds) or {}).get("exited") is None:
                self._hang_up()
            self._variant = None

    def _begin(self, variant: Variant, device: str, *, ahead: bool = False) -> None:
        """Have a fresh process for `variant`, on one device until it ends."""
        self.check()
        self.renew()
        self._await_start()
        self._send({"op": variant.op.name, "variant": variant.name, "device": device, "ahead": ahead and device == "sim"})
        answer = self._receive(self.limits.first_seconds) or {}
        if "pid" not in answer:
            self._hang_up()
            raise Died("crashed", "its process did not start")
        self._child, self._variant, self._calls = int(answer["pid"]), variant, 0

    def _await_start(self) -> None:
        """Have a process that is ready for orders."""
        if self._process is None or self._process.poll() is not None:
            self._spawn()
        if not self._ready and "ready" not in (self._receive(self.limits.first_seconds) or {}):
            self._hang_up()
            raise CrucibleError("the worker process did not start; its own message stands above")
        self._ready = True

    def _spawn(self) -> None:
        self._hang_up()
        self._talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            sys.executable,
            "-m",
            "harness.proof.sandbox.worker",
            f"--parent={os.getpid()}",
            f"--socket={theirs.fileno()}",
        ]
        command += [f"--memory={self.memory.file}", f"--memory-limit={self.limits.memory}"]
        command += [f"--kernels-path={p.absolute()}" for p in self.kernels_path]
        environment = os.environ | {
            "OMP_WAIT_POLICY": "passive",  # several workers share the cores
            "NUMBA_CACHE_DIR": str(ROOT / ".cache" / "numba" / "others"),  # of what would be kept beside its file
            "TMPDIR": self._temporary.name,
        }

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                pass_fds=(theirs.fileno(), self.memory.file),
                env=environment,
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is its owner's to hear
            )

        process = self._process = STARTER.submit(start).result()
        theirs.close()
        if self._stopped:  # meanwhile
            process.kill()

    def _send(self, message: object) -> None:
        with suppress(OSError):  # a worker that is gone shows when its answer is read
            if self._talk is not None:
                self._talk.send(json.dumps(message).encode())

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message; None if there was none in time. A closed line reads as an exit."""
        if self._talk is None or not select.select([self._talk], [], [], seconds)[0]:
            return None
        with suppress(OSError, ValueError):
            message = self._talk.recv(LONGEST_MESSAGE)
            if message and isinstance(answer := json.loads(message), dict):
                return answer
        self._hang_up()
        return {"exited": -signal.SIGKILL}

    def _kill_child(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        self._variant = None
        if self._receive(self.limits.seconds) is None:
            self._hang_up()

    def _hang_up(self) -> None:
        self._variant, self._ready = None, False
        if self._process is not None:  # first, so that it has nobody to miss
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._talk is not None:
            self._talk.close()
            self._talk = None


def _farewell(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process exited with code {code} in the middle of a call"
