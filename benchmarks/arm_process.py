"""The process of one arm: start it, request steps from it, and end it with all processes that it started."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from benchmarks.step_arm import LONGEST_MESSAGE
from harness.child import Child, CommandFailed, Ended, describe_end
from registry.errors import BAD_REQUEST, CrucibleError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["MODULE", "ArmProcess"]

MODULE = "benchmarks.step_arm"
FAREWELL_S = 10.0
LITTLE_MEMORY = "; this machine may have too little memory for so many arms, choose fewer with --arms"


class ArmProcess(Child):
    """The process of one arm.

    Parameters
    ----------
    words : sequence of str
        The command line of the arm after its name.
    environment : mapping of str to str
        Environment variables of the process, in addition to the variables of this process.
    on_message : callable
        Receives every line that the process prints. A thread of its own calls it.
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
        super().__init__(MODULE, [f"--arm={arm}", *words], environment=environment, output=subprocess.PIPE)
        self.start()
        self._printed = self.process.stdout if self.process else None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._printed or ():
            if text := line.decode(errors="replace").strip():
                self._last = text
                self._on_message(text)

    def ask(self, command: str, seconds: float | None = None, /, **arguments: Any) -> dict[str, Any]:
        """Run a command in the process and return its result; raise `CrucibleError` if it fails."""
        try:
            return dict(super().ask(command, seconds, **arguments))
        except Ended as ended:
            raise self._error(ended.code) from None
        except CommandFailed as error:
            raise CrucibleError(f"arm {self.arm} failed: {str(error)[:LONGEST_MESSAGE]}") from None

    def _error(self, code: int) -> CrucibleError:
        self._listener.join(FAREWELL_S)
        kind = RequestError if code == BAD_REQUEST else CrucibleError
        end = describe_end(code)
        memory = LITTLE_MEMORY if end.endswith("SIGKILL") else ""
        return kind(f"arm {self.arm} {end}{memory}: {self._last.removeprefix('error: ') or 'it printed no message'}")

    def wait_ready(self) -> dict[str, str]:
        """Wait until the process is ready for its first step, and return its kernels by op."""
        kernels = self.ask("kernels")
        self.first_step_s = time.monotonic() - self._began
        return kernels

    def wait_ended(self) -> None:
        """Wait until the process ends by itself; raise `CrucibleError` if it failed."""
        if code := self.wait():
            raise self._error(code)

    def step(self, *, counted: bool = False) -> float:
        """Request one step and return its loss.

        Parameters
        ----------
        counted : bool
            Keep the time of the step.

        Raises
        ------
        CrucibleError
            The step failed, or the process ended.
        """
        result = self.ask("step", number=len(self.losses) + 1)
        if not self.losses:
            self.first_step_s += result["ms"] / 1e3
        if counted:
            self.ms.append(result["ms"])
        self.losses.append(result["loss"])
        self.peak_rss, self.conditions = result["peak_rss"], result["conditions"]
        return self.losses[-1]

    def close(self, seconds: float = FAREWELL_S) -> None:
        """End the process and all processes that it started, after some `seconds` in which it may end by itself."""
        super().close(seconds)
        self._listener.join(FAREWELL_S)
        if self._printed:
            self._printed.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(FAREWELL_S if kind is None else 0.0)
