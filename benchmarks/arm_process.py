"""The benchmark's interface to the process of one arm: start it, request steps from it, and end it with all its children."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self, cast

from registry.errors import BAD_REQUEST, CrucibleError, RequestError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import IO

__all__ = ["MODULE", "ArmProcess"]

MODULE = "benchmarks.step_arm"
FAREWELL_S = 10.0


class ArmProcess:
    """The process of one arm.

    The process is the leader of a new process group. Ctrl-C in the terminal therefore reaches only the benchmark, which then
    ends the whole group, including the processes that the arm started.

    Parameters
    ----------
    words : sequence of str
        The command line of the arm after its name.
    environment : mapping of str to str
        Environment variables of the process, in addition to the variables of this process.
    on_message : callable
        Receives every line that the process writes to its standard error. A thread of its own calls it.
    """

    def __init__(
        self, arm: str, words: Sequence[str], environment: Mapping[str, str], on_message: Callable[[str], None] = lambda _: None
    ) -> None:
        self.arm, self.peak_rss = arm, 0.0
        self.ms: list[float] = []
        self.losses: list[float] = []
        self.conditions: dict[str, Any] = {}
        self.first_step_s = 0.0
        self._on_message, self._last = on_message, ""
        self._began = time.monotonic()
        self._child = subprocess.Popen(
            [sys.executable, "-m", MODULE, f"--arm={arm}", *words],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _pipe(self, name: str) -> IO[str]:
        return cast("IO[str]", getattr(self._child, name))

    def _listen(self) -> None:
        for line in self._pipe("stderr"):
            if text := line.strip():
                self._last = text
                self._on_message(text)

    def _read(self) -> dict[str, Any]:
        line = self._pipe("stdout").readline()
        if not line:
            raise self._ended()
        return dict(json.loads(line))

    def _ended(self) -> CrucibleError:
        code = self._child.wait()
        self._listener.join(FAREWELL_S)
        if code >= 0:
            kind = RequestError if code == BAD_REQUEST else CrucibleError
            why = self._last.removeprefix("error: ") or "it printed no message"
            return kind(f"arm {self.arm} ended with code {code}: {why}")
        name = signal.Signals(-code).name
        memory = (
            "; this machine may have too little memory for so many arms, choose fewer with --arms" if name == "SIGKILL" else ""
        )
        return CrucibleError(f"arm {self.arm} was ended by {name}{memory}{self._last and ': '}{self._last}")

    def wait_ready(self) -> dict[str, str]:
        """Wait until the process is ready for its first step, and return its kernels by op.

        Raises
        ------
        CrucibleError
            The process ended.
        """
        kernels: dict[str, str] = self._read()["kernels"]
        self.first_step_s = time.monotonic() - self._began
        return kernels

    def wait_ended(self) -> None:
        """Wait until the process ends by itself.

        Raises
        ------
        CrucibleError
            The process failed.
        """
        self._pipe("stdin").close()
        if self._child.wait():
            raise self._ended()

    def step(self, *, counted: bool = False) -> float:
        """Request one step and return its loss.

        Parameters
        ----------
        counted : bool
            Keep the time of the step.

        Raises
        ------
        CrucibleError
            The process ended.
        """
        with contextlib.suppress(BrokenPipeError):  # `_read` reports that the process ended
            self._pipe("stdin").write("\n")
            self._pipe("stdin").flush()
        result = self._read()
        if not self.losses:
            self.first_step_s += result["ms"] / 1e3
        if counted:
            self.ms.append(result["ms"])
        self.losses.append(result["loss"])
        self.peak_rss, self.conditions = result["peak_rss"], result["conditions"]
        return self.losses[-1]

    def close(self, *, at_once: bool = False) -> None:
        """End the process and all its children. With `at_once`, do not wait for the process to end by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe("stdin").close()
        if not at_once:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(FAREWELL_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._listener.join(FAREWELL_S)
        for name in ("stdout", "stderr"):
            self._pipe(name).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(at_once=kind is not None)
