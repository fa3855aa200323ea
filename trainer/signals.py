"""The signals that end a run: Ctrl-C, SIGTERM (``kill``, torchrun, batch systems) and SIGHUP (a closed terminal).

During the training loop, a signal ends the run after the current step, and the model is saved. At any other time, or if it is
the second one, a signal ends the run at once and nothing is saved. A signal that the run ignores from its start on, as SIGHUP
under ``nohup``, stays ignored.
"""

from __future__ import annotations

import os
import signal
import stat
from contextlib import contextmanager
from signal import Signals
from typing import TYPE_CHECKING

from registry.errors import TerminatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

__all__ = ["Interrupt", "interruptible", "terminable"]

TERMINATIONS = (Signals.SIGTERM, Signals.SIGHUP)
OUTPUTS = (1, 2)  # descriptors of standard output and standard error


class Interrupt:
    """The first signal during the training loop; None before a signal."""

    def __init__(self) -> None:
        self.signal: Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal requests the end of the loop."""
        return self.signal is not None


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `TerminatedError` once. Further ones must not interrupt the clean-up."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        _leave_closed_terminal()
        for other in TERMINATIONS:
            signal.signal(other, signal.SIG_IGN)
        raise TerminatedError(number)

    with _handling(TERMINATIONS, end):
        yield


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Interrupt]:
    """Make the first signal request a stop after the current step, and the second one stop at once."""
    state = Interrupt()

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        _leave_closed_terminal()
        if state.requested:
            raise KeyboardInterrupt if number == Signals.SIGINT else TerminatedError(number)
        state.signal = Signals(number)
        cause = "" if number == Signals.SIGINT else f"{state.signal.name}: "
        say(f"{cause}finishing this step, then saving (Ctrl-C again to stop without saving)")

    with _handling((Signals.SIGINT, *TERMINATIONS), handle):
        yield state


@contextmanager
def _handling(signals: Iterable[Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that are not ignored, then restore the former handlers."""
    former = {number: signal.getsignal(number) for number in signals}
    former = {number: before for number, before in former.items() if before is not signal.SIG_IGN}
    for number in former:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def _leave_closed_terminal() -> None:
    """Drop the output to a terminal that was closed. A write to it would raise an error and end the run."""
    for descriptor in OUTPUTS:
        if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
