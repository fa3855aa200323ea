"""The owner's side of a contestant: its failure, crash or hang becomes an error with the status of its row in the record."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from harness.child import Child, CommandFailed, Ended, Hung
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


class ContestantProcess(Child):
    """The process of a contestant, which runs the kernels of the project at `root`."""

    def __init__(self, kernels_path: Sequence[Path] = (), root: Path = ROOT, module: str = "harness.race.contestant") -> None:
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        super().__init__(module, [str(path.absolute()) for path in kernels_path], root=root, output=self._printed)

    def ask(self, command: str, seconds: float | None = START_S, /, **arguments: Any) -> dict[str, Any]:
        """Run a command in the process and return its result.

        Raises
        ------
        ContestantError
            ``failed`` (the command raised), ``refused`` (it raised `NotImplementedError`), ``crashed`` (the process ended) or
            ``hung`` (no reply within `seconds`).
        """
        try:
            return dict(super().ask(command, seconds, **arguments))
        except CommandFailed as error:
            refused = str(error).startswith(NotImplementedError.__name__)  # CuPy raises it for cuBLAS in a CUDA graph
            raise ContestantError(Status.REFUSED if refused else Status.FAILED, str(error)) from None
        except Ended as error:
            self._printed.seek(0)
            last = self._printed.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ContestantError(Status.CRASHED, ": ".join([f"its process {error}", *last])) from None
        except Hung as error:
            raise ContestantError(Status.HUNG, f"its process {error} to {command!r}") from None

    def close(self, seconds: float = EXIT_S) -> None:
        """End the process, and the processes that it started."""
        super().close(seconds)
        self._printed.close()
