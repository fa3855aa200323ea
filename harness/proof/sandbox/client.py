"""The parent's side of a worker process: sends calls, and goes on after a variant has ended or damaged its process."""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from harness.child import Child, CommandFailed, Ended, Hung, describe_end
from harness.proof.sandbox.buffers import Memory
from registry.enums import Device, Status
from registry.errors import CrucibleError
from registry.fingerprint import Snapshot
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.proof.sandbox.buffers import Buffers
    from registry.variant import Variant

__all__ = ["DeviceSettings", "Died", "Limits", "Raised", "Worker"]


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
        ``crashed``, ``hung``, or ``failed`` if the variant changed state that its process shares.
    """

    def __init__(self, status: Status, message: str) -> None:
        self.status = status
        super().__init__(message)


class Worker(Child):
    """One worker process and the memory shared with it; the client restarts a process that has ended.

    A process that the owner has stopped raises `harness.child.Stopped` in the thread that waits for it.

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
        super().__init__(
            "harness.proof.sandbox.worker",
            [
                f"--memory={self.memory.file}",
                f"--memory-limit={self.limits.memory}",
                *(f"--kernels-path={path.absolute()}" for path in self.kernels_path),
            ],
            environment={
                "OMP_WAIT_POLICY": "passive",  # several workers share the cores
                "NUMBA_CACHE_DIR": str(ROOT / ".cache" / "numba" / "others"),  # else numba writes beside the source files
                "TMPDIR": self._temporary.name,
            },
            inherited=[self.memory.file],
        )
        self._variant: Variant | None = None
        self._fork, self._fork_pid = "", 0  # the request that forked the variant's process, and the id of that process
        self._calls = 0

    @property
    def calls(self) -> int:
        """The number of calls of the variant in its present process."""
        return self._calls

    def close(self, seconds: float = 0.0) -> None:
        """End the process and close the memory."""
        super().close(seconds)
        self.memory.close()
        self._temporary.cleanup()

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
        limit = self.limits.seconds if self._calls else self.limits.first_seconds
        self._calls += 1
        try:
            request = self.send(
                limit,
                "call",
                slots=[(s.name, s.offset, s.shape, s.dtype, s.role) for s in buffers.slots.values()],
                params=buffers.problem.params,
                size=buffers.size,
                threads=threads,
                settings=settings and asdict(settings),
            )
            replied, reply = self.receive(limit, request, self._fork)
        except Hung as hung:
            self.renew()
            raise Died(Status.HUNG, f"its process {hung}") from None
        except Ended as ended:
            self._variant = None
            raise Died(Status.CRASHED, f"its process {ended}") from None
        if replied == self._fork:
            self._variant = None
            raise Died(Status.CRASHED, f"its process {describe_end(reply)} in the middle of a call")
        if reply["error"]:
            if lost := reply.get("lost"):
                self.renew()
            if lost == "state":
                raise Died(Status.FAILED, reply["error"])
            raise Raised(reply["error"], reply.get("fault", ""))

    def renew(self) -> None:
        """End the variant's process, so that the next call starts from a clean state."""
        if self._variant is None:
            return
        self._variant = None
        with suppress(ProcessLookupError):
            os.kill(self._fork_pid, signal.SIGKILL)
        try:
            self.receive(self.limits.seconds, self._fork)
        except (Hung, Ended):
            self.kill()

    def _begin(self, variant: Variant, device: Device, *, ahead: bool = False) -> None:
        """Start a fresh process for `variant`, which uses one device until it ends."""
        self.renew()
        if self.process is not None and self.process.poll() is not None:  # it ended between two variants
            self.kill()
        seconds = self.limits.first_seconds
        try:
            self.ask("ready", seconds)
        except (Hung, Ended) as error:
            raise CrucibleError(f"the worker process {error} at its start; its own message is above") from None
        try:
            self._fork = self.send(
                seconds, "begin", op=variant.op.name, variant=variant.name, device=device, ahead=ahead and device == Device.SIM
            )
            _, reply = self.receive(seconds, self._fork)
        except (Hung, Ended, CommandFailed) as error:
            self.kill()
            raise Died(Status.CRASHED, f"its process did not start: {error}") from None
        self._fork_pid, self._variant, self._calls = int(reply), variant, 0
