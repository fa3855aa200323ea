"""Write the log and the checkpoints of a run while it trains."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer.loop import Update
    from trainer.state.background import BackgroundWriter
    from trainer.state.log_file import LogFile

__all__ = ["RunRecorder"]

SECONDS_PER_MINUTE = 60


class RunRecorder:
    """Writes a line for each update, and a checkpoint when one is due and after the last step.

    Parameters
    ----------
    facts : mapping
        Further data of each checkpoint: the conditions on which the bits of the run depend.
    every : int, optional
        A checkpoint is due after each step that is a multiple of this number.
    minutes : float, optional
        A checkpoint is due this time after the checkpoint before.
    say : callable
        Prints a line if a checkpoint is left out.
    """

    def __init__(
        self,
        log: LogFile,
        writer: BackgroundWriter,
        facts: Mapping[str, Any],
        *,
        every: int | None,
        minutes: float | None,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._writer, self._facts, self._say = log, writer, facts, say
        self._every, self._seconds, self._clock = every, None if minutes is None else minutes * SECONDS_PER_MINUTE, clock
        self._begun = clock()

    def stepped(self, update: Update) -> None:
        """Write the line of an update."""
        self._log.add(
            step=update.step,
            loss=update.loss,
            norm=update.norm,
            learning_rate=update.learning_rate,
            seconds=round(update.seconds, 6),
        )

    def validated(self, step: int, loss: float) -> None:
        """Write the line of a validation."""
        self._log.add(step=step, val_loss=loss)

    def before_update(self) -> None:
        """Wait until the copy of the state is complete."""
        self._writer.wait_copied()

    def finished(self, step: int, loader: Mapping[str, Any], *, last: bool) -> None:
        """Begin a checkpoint if one is due. After the last step, wait until it is on the disk."""
        by_step = self._every is not None and step % self._every == 0
        by_time = self._seconds is not None and self._clock() - self._begun >= self._seconds
        if not (last or by_step or by_time):
            return
        if self._writer.busy and not last:
            if by_step:
                self._say(f"no checkpoint of step {step}: the one before is still being written")
            return
        self._begun = self._clock()
        self._writer.begin(step, {"loader": loader, "log": self._log.position, **self._facts})
        if last:
            self._writer.finish()
