"""The parent's side of a contestant: start its process, send it commands, and report a crash or a hang as an error."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from registry.enums import Status
from registry.errors import CrucibleError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["ContestantError", "ContestantProcess"]

START_S = 120.0
EXIT_S = 2.0


class ContestantError(CrucibleError):
    """A contestant failed, refused, crashed or hung; `status` is the status of its row in the record."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class ContestantProcess:
    """One child process, started by the first command, and again by the next command after it died.

    Parameters
    ----------
    root : Path
        The project whose kernels the child loads.
    module : str
        The Python module that the child runs.
    """

    def __init__(self, kernels_path: Sequence[Path] = (), root: Path = ROOT, module: str = "harness.race.contestant") -> None:
        self._root = root
        self._command = [sys.executable, "-m", module, *(str(path.absolute()) for path in kernels_path)]
        self._child: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)

    def start(self) -> None:
        """Start the child unless it is alive."""
        if self._child is not None and self._child.poll() is None:
            return
        self._unread = b""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self._root), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, cwd=self._root, env=environment
        )

    def ask(self, do: str, *, limit_s: float = START_S, **arguments: Any) -> dict[str, Any]:
        """Send a command and return the reply.

        Raises
        ------
        ContestantError
            ``failed`` (the child raised), ``refused`` (the child raised `NotImplementedError`), ``crashed`` (the process died)
            or ``hung`` (no reply within `limit_s`).
        """
        self.start()
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise ContestantError(Status.CRASHED, "the process did not start")
        try:
            child.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise self._crashed() from None
        line = self._line(child.stdout.fileno(), time.monotonic() + limit_s)
        if line is None:
            self.kill()
            raise ContestantError(Status.HUNG, f"no reply to {do!r} within {limit_s:.0f} s")
        if not line:
            raise self._crashed()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            refused = reply["error"].startswith(NotImplementedError.__name__)  # CuPy raises it for cuBLAS in a CUDA graph
            raise ContestantError(Status.REFUSED if refused else Status.FAILED, reply["error"])
        return reply

    def _line(self, descriptor: int, deadline: float) -> bytes | None:
        """Return one line; an empty one at the end of the stream; None when the deadline passes."""
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                return None
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return b""
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _crashed(self) -> ContestantError:
        code = self._child.wait() if self._child is not None else 0
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        self.kill()
        return ContestantError(Status.CRASHED, f"exit code {code}" + (f": {last[0]}" if last else ""))

    def kill(self) -> None:
        """Kill the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            self._child = None

    def close(self) -> None:
        """Close the child's input, and kill the child if it does not end by itself."""
        if self._child is not None and self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
                self._child.stdin.close()
                self._child.wait(EXIT_S)
        self.kill()
        self._errors.close()
