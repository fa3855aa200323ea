"""Run a command of the harness as a child process. The trainer does not import the harness, and reads the records instead."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from registry.commands import pasted
from registry.errors import INTERRUPTED, CrucibleError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_command"]


def run_command(command: Sequence[str]) -> int:
    """Run a command and return its exit code. Its messages are printed, its standard output is not.

    Parameters
    ----------
    command : sequence of str
        The arguments of ``python -m``. The command runs in the project's folder, so its paths are absolute.

    Raises
    ------
    CrucibleError
        A signal ended the command.
    KeyboardInterrupt
        The user interrupted the command.
    """
    code = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code < 0:
        raise CrucibleError(f"{pasted(*command)} was ended by signal {-code}")
    return code
