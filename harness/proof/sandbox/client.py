"""The parent's side of a worker process: sends calls, and goes on after a variant has ended or damaged its process."""

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
from registry.enums import Device, Status
from registry.errors import CrucibleError
from registry.fingerprint import Snapshot
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.proof.sandbox.buffers import Buffers
    from registry.variant import Variant

__all__ = ["Closed", "DeviceSettings", "Died", "Limits", "Raised", "Worker"]

STARTER = ThreadPoolExecutor(1, "starts workers")  # a worker ends with the thread that started it: this one ends last


@dataclass(frozen=True)
class Limits:
    """Limits of one call.

    Attributes
    ----------
    first_seconds : float
        Time of the first call of a variant, which may compile.
    seconds : float
        Time of every other call.
    memory : int
        Bytes that the variant's process may allocate.
    """

    first_seconds: float = 120.0
    seconds: float = 30.0
    memory: int = 8 << 30


@dataclass(frozen=True)
class DeviceSettings:
    """The device of a CUDA variant, and the settings of the simulator.

    Attributes
    ----------
    device : Device
        ``sim`` or ``cuda``.
    mode : {"fast", "checked"}
        The mode of the simulator.
    order : {"ascending", "descending"} or int
        The order in which the simulator runs the warps; a number seeds a random order.
    """

    device: Device = Device.SIM
    mode: str = "fast"
    order: str | int = "ascending"


class Raised(Exception):  # noqa: N818 (an outcome of a call)
    """The variant raised an exception or returned a value, which the message describes.

    Attributes
    ----------
    fault : str
        The fault that the simulator found, such as ``race``; "" for an exception.
    """

    def __init__(self, message: str, fault: str = "") -> None:
        self.fault = fault
        super().__init__(message)


class Died(Exception):  # noqa: N818 (an outcome of a call)
    """The variant's process ended, or the client ended it because another call in it could be wrong.

    Attributes
    ----------
    status : Status
        ``crashed``, ``hung`` or ``failed``.
        ``failed`` if the variant changed state that its process shares.
    """

    def __init__(self, status: Status, message: str) -> None:
        self.status = status
        super().__init__(message)


class Closed(BaseException):
    """The worker's owner has closed it from another thread; the call that was running has no result."""


class Worker:
    """One worker process and the memory shared with it; the client restarts a process that has ended.

    Parameters
    ----------
    kernels_path : iterable of Path
        Folders of more variants.
    limits : Limits
    sources : Snapshot, optional
        The source files before any process imported them; by default the files at this moment.
    """

    def __init__(
        self, kernels_path: Iterable[Path] = (), limits: Limits | None = None, sources: Snapshot | None = None
    ) -> None:
        self.kernels_path = tuple(kernels_path)
        self.limits = limits or Limits()
        self.sources = sources or Snapshot(self.kernels_path)
        self.memory = Memory()
        # The folder for a variant's temporary files.
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
        """The number of calls of the variant in its present process."""
        return self._calls

    def check(self) -> None:
        """Raise `Closed` if the owner has stopped the worker from another thread."""
        if self._stopped:
            raise Closed

    def stop(self) -> None:
        """End the process from any thread; a thread that waits for a reply gets `Closed`."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process and close the memory."""
        self._stopped = True
        self._hang_up()
        self.memory.close()
        self._temporary.cleanup()

    def start(self) -> None:
        """Start the process without waiting for it, so that its imports run while the caller imports."""
        if self._process is None and not self._stopped:
            self._spawn()

    def begin(self, variant: Variant, device: Device, *, ahead: bool = False) -> None:
        """Start a process for `variant`, so that its first call need not wait for it; that call reports a failure to start.

        Parameters
        ----------
        ahead : bool
            Let the process compile all kernels for the simulator before its first call, in reverse order: another worker
            compiles them in order as it is called, so that the two share the work.
        """
        with suppress(Died):
            self._begin(variant, device, ahead=ahead)

    def call(self, variant: Variant, buffers: Buffers, threads: int, settings: DeviceSettings | None = None) -> None:
        """Call `variant` on filled `buffers`.

        Parameters
        ----------
        settings : DeviceSettings, optional
            For a CUDA variant.

        Raises
        ------
        Raised
            The variant raised an exception or returned a value.
        Died
            The variant's process crashed, exited or sent no reply in time, or the variant changed its shared state.
        """
        if variant is not self._variant:
            self._begin(variant, settings.device if settings else Device.CPU)
        slots = [(s.name, s.offset, s.shape, s.dtype, s.role) for s in buffers.slots.values()]
        call = {"slots": slots, "params": buffers.problem.params, "size": buffers.size, "threads": threads}
        call["workspace"] = "workspace" in buffers.slots
        if settings is not None:
            call["settings"] = asdict(settings)
        limit = self.limits.seconds if self._calls else self.limits.first_seconds
        self._calls += 1
        self.check()
        self._send(call)
        reply = self._receive(limit)
        self.check()
        if reply is None:
            self._kill_child()
            raise Died(Status.HUNG, f"gave no reply within {limit:g} s")
        if "error" not in reply:
            self._variant = None
            raise Died(Status.CRASHED, _exit_message(reply.get("exited", 0)))
        if reply["error"]:
            if lost := reply.get("lost"):
                self.renew()
            if lost == "state":
                raise Died(Status.FAILED, reply["error"])
            raise Raised(reply["error"], reply.get("fault", ""))

    def renew(self) -> None:
        """End the variant's process, so that the next call starts from a clean state."""
        if self._variant is not None:
            self._send("stop")
            if (self._receive(self.limits.seconds) or {}).get("exited") is None:
                self._hang_up()
            self._variant = None

    def _begin(self, variant: Variant, device: Device, *, ahead: bool = False) -> None:
        """Start a fresh process for `variant`, which uses one device until it ends."""
        self.check()
        self.renew()
        self._await_start()
        self._send({"op": variant.op.name, "variant": variant.name, "device": device, "ahead": ahead and device == Device.SIM})
        reply = self._receive(self.limits.first_seconds) or {}
        if "pid" not in reply:
            self._hang_up()
            raise Died(Status.CRASHED, "its process did not start")
        self._child, self._variant, self._calls = int(reply["pid"]), variant, 0

    def _await_start(self) -> None:
        """Wait until the first process is ready to start processes of variants."""
        if self._process is None or self._process.poll() is not None:
            self._spawn()
        if not self._ready and "ready" not in (self._receive(self.limits.first_seconds) or {}):
            self._hang_up()
            raise CrucibleError("the worker process did not start; its own message is above")
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
            "NUMBA_CACHE_DIR": str(ROOT / ".cache" / "numba" / "others"),  # else numba writes beside the source files
            "TMPDIR": self._temporary.name,
        }

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                pass_fds=(theirs.fileno(), self.memory.file),
                env=environment,
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C must reach the owner alone
            )

        process = self._process = STARTER.submit(start).result()
        theirs.close()
        if self._stopped:  # by another thread, while the process started
            process.kill()

    def _send(self, message: object) -> None:
        with suppress(OSError):  # `_receive` reports a worker that has ended
            if self._talk is not None:
                self._talk.send(json.dumps(message).encode())

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message; None if none came in time. A closed socket reads as an exit."""
        if self._talk is None or not select.select([self._talk], [], [], seconds)[0]:
            return None
        with suppress(OSError, ValueError):
            message = self._talk.recv(LONGEST_MESSAGE)
            if message and isinstance(reply := json.loads(message), dict):
                return reply
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
        if self._process is not None:  # before the socket is closed, so that the process sees no closed socket
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._talk is not None:
            self._talk.close()
            self._talk = None


def _exit_message(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process exited with code {code} in the middle of a call"
