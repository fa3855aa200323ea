"""The training loop. It takes batches and returns losses; the program allocates nothing between steps."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from signal import Signals
from typing import TYPE_CHECKING, Protocol

from registry.errors import CrucibleError
from trainer.data.loader import Loader
from trainer.ranks.interface import SINGLE_PROCESS
from trainer.schedule import clip_scale

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.program.program import Program
    from trainer.ranks.interface import Ranks
    from trainer.settings import Settings
    from trainer.signals import Interrupt

__all__ = ["DivergedError", "History", "Watcher", "fit", "validation_loss"]


class DivergedError(CrucibleError):
    """A loss or a gradient is NaN or infinite."""

    def __init__(self, step: int, quantity: str, value: float, fault: str) -> None:
        where = f"{fault} first left a non-finite value" if fault else "no single call of the last micro-step is to blame"
        super().__init__(f"step {step}: the {quantity} is {value}; {where}; nothing was saved")


class Watcher(Protocol):
    """Receives the losses of a training run."""

    def stepped(self, step: int, loss: float, seconds: float) -> None:
        """Receive the mean loss of the tokens of update number `step`."""

    def validated(self, step: int, loss: float) -> None:
        """Receive the validation loss after `step` updates."""


@dataclass
class History:
    """The losses and times of a run.

    Attributes
    ----------
    train_loss : list of float
        Mean loss of the tokens of each update, with the parameters before the update.
    val_loss, val_steps : list
        Validation losses, and the number of updates before each.
    step_seconds : list of float
        Wall time of each update, validation excluded.
    interrupted : bool
        Whether a signal stopped the run between two steps.
    signal : str
        The name of that signal, such as ``SIGINT``; "" if the run was not interrupted.
    """

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    interrupted: bool = False
    signal: str = ""

    @property
    def steps(self) -> int:
        """Number of updates so far."""
        return len(self.train_loss)

    @property
    def settled_seconds(self) -> list[float]:
        """Step times without the first step, which compiles kernels and touches memory for the first time."""
        return self.step_seconds[1:] or self.step_seconds

    @property
    def median_ms(self) -> float:
        """Median time of an update in milliseconds, without the first one."""
        return 1e3 * statistics.median(self.settled_seconds) if self.step_seconds else 0.0


def validation_loss(program: Program, loader: Loader, batches: int, step: int) -> float:
    """Return the mean loss of the first `batches` batches. Every call uses the same batches.

    Raises
    ------
    DivergedError
        A loss is not finite.
    """
    loader.reset()
    losses = []
    for _ in range(min(batches, loader.batches)):
        program.load(*loader.next_batch())
        losses.append(_checked(program, program.validate(), "validation loss", step))
    return statistics.fmean(losses)


def _checked(program: Program, value: float, quantity: str, step: int) -> float:
    if not math.isfinite(value):
        raise DivergedError(step, quantity, value, program.first_fault())
    return value


def fit(
    program: Program, data: Dataset, settings: Settings, watcher: Watcher, interrupt: Interrupt, ranks: Ranks = SINGLE_PROCESS
) -> History:
    """Train and return the losses and times. All ranks start with the same parameters and return the same losses.

    Raises
    ------
    DivergedError
        A loss or the norm of the gradients is not finite. The parameters stay as they were before the step.
    """
    history, updates = History(), settings.updates
    rows = settings.B, settings.T, settings.seed, ranks.rank, ranks.count
    train, held_out = (Loader(tokens, *rows) for tokens in (data.train, data.validation))
    validate_at = {round(i * updates / max(1, settings.evaluations - 1)) for i in range(settings.evaluations)}

    def validate(step: int) -> None:
        loss = ranks.mean(validation_loss(program, held_out, settings.validation_batches, step))
        history.val_loss.append(loss)
        history.val_steps.append(step)
        watcher.validated(step, loss)

    validate(0)
    for step in range(1, updates + 1):
        start = time.perf_counter()
        losses = []
        for micro_step in range(settings.micro_steps):
            program.load(*train.next_batch())
            losses.append(_checked(program, program.micro_step(accumulate=micro_step > 0), "loss", step))
        ranks.all_reduce_sum(program.all_gradients)
        norm = program.gradient_norm()
        if not math.isfinite(norm):
            raise DivergedError(step, "norm of the gradients", norm, ranks.first(program.first_fault()))
        program.apply(learning_rate=settings.schedule(step - 1), grad_scale=clip_scale(norm, settings.clip), step=step)
        history.train_loss.append(ranks.mean(statistics.fmean(losses)))
        history.step_seconds.append(time.perf_counter() - start)
        watcher.stepped(step, history.train_loss[-1], history.step_seconds[-1])
        stop = ranks.any(interrupt.requested)
        if stop and step < updates:
            history.interrupted = True
            history.signal = (interrupt.signal or Signals.SIGINT).name  # another rank may have received the signal
        if (step in validate_at and not stop) or step == updates:
            validate(step)
        if stop:
            break
    return history
