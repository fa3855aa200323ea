"""Run a command of the harness as a child process. The trainer does not import the harness, and reads the records instead."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from registry.commands import pasted
from registry.errors import INTERRUPTED, CrucibleError
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["exit_code_of", "run_command"]

SIGNALLED = 128  # an exit code above it is 128 and the number of a signal
CLEANUP_SECONDS = 10.0  # the longest wait for an interrupted command


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
        The user interrupted the command, or a signal ends this process. The command ended before.
    """
    code = exit_code_of([sys.executable, "-m", *command])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code < 0 or code > SIGNALLED:
        raise CrucibleError(f"{pasted(*command)} was ended by signal {-code if code < 0 else code - SIGNALLED}")
    return code


def exit_code_of(words: Sequence[str]) -> int:
    """Run a program and return its exit code. It has ended when this function returns or raises an error."""
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, after a signal to this process: as by Ctrl-C, so that it ends its own processes."""
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # after Ctrl-C in a terminal, the command ignores this second one
            process.wait(CLEANUP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
