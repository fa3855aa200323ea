"""The training loop. It takes batches and returns losses; the program allocates nothing between steps."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from signal import Signals
from typing import TYPE_CHECKING, Any, Protocol

from registry.errors import CrucibleError
from trainer.data.loader import Loader
from trainer.ranks.interface import SINGLE_PROCESS
from trainer.schedule import clip_scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.data.dataset import Dataset
    from trainer.program.program import Program
    from trainer.ranks.interface import Ranks
    from trainer.settings import Settings
    from trainer.signals import Interrupt

__all__ = [
    "NO_RECORDER",
    "DivergedError",
    "History",
    "Recorder",
    "Start",
    "Update",
    "Watcher",
    "fit",
    "validation_loss",
]


class DivergedError(CrucibleError):
    """A loss or a gradient is NaN or infinite."""

    def __init__(self, step: int, quantity: str, value: float, fault: str) -> None:
        where = f"{fault} first left a non-finite value" if fault else "no single call of the last micro-step is to blame"
        super().__init__(f"step {step}: the {quantity} is {value}; {where}")


@dataclass(frozen=True)
class Update:
    """The facts of one update.

    Attributes
    ----------
    step : int
        Number of the update, from 1 up.
    loss : float
        Mean loss of its tokens, with the parameters before the update.
    norm : float
        Norm of the gradients before clipping.
    learning_rate : float
    seconds : float
        Wall time, validation excluded.
    """

    step: int
    loss: float
    norm: float
    learning_rate: float
    seconds: float


class Watcher(Protocol):
    """Receives the losses of a training run."""

    def stepped(self, update: Update) -> None:
        """Receive the facts of an update."""

    def validated(self, step: int, loss: float) -> None:
        """Receive the validation loss after `step` updates."""


class Recorder(Watcher, Protocol):
    """Writes the log and the checkpoints of a run."""

    def before_update(self) -> None:
        """Prepare for a change of the state."""

    def finished(self, step: int, loader: Mapping[str, Any], *, last: bool) -> None:
        """Receive the end of a step. The state does not change before the next call of `before_update`.

        Parameters
        ----------
        loader : mapping
            The state of the loader of the training batches.
        last : bool
            Whether the process makes no further step.
        """


class NoRecorder:
    """Writes nothing."""

    def stepped(self, update: Update) -> None:
        """Do nothing."""

    def validated(self, step: int, loss: float) -> None:
        """Do nothing."""

    def before_update(self) -> None:
        """Do nothing."""

    def finished(self, step: int, loader: Mapping[str, Any], *, last: bool) -> None:
        """Do nothing."""


NO_RECORDER = NoRecorder()


@dataclass(frozen=True)
class Start:
    """The point at which a resumed run continues.

    Attributes
    ----------
    step : int
        Number of updates before it.
    loader : mapping
        The state of the loader of the training batches.
    history : History
        The losses so far.
    """

    step: int
    loader: Mapping[str, Any]
    history: History


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
        Wall time of each update of this process, validation excluded.
    steps : int
        Number of updates so far.
    interrupted : bool
        Whether a signal stopped the run between two steps.
    signal : str
        The name of that signal, such as ``SIGINT``; "" if the run was not interrupted.
    """

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    steps: int = 0
    interrupted: bool = False
    signal: str = ""

    def add(self, update: Update) -> None:
        """Add the loss and the time of an update."""
        self.steps = update.step
        self.train_loss.append(update.loss)
        self.step_seconds.append(update.seconds)

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
    program: Program,
    data: Dataset,
    settings: Settings,
    watcher: Watcher,
    interrupt: Interrupt,
    ranks: Ranks = SINGLE_PROCESS,
    *,
    start: Start | None = None,
    recorder: Recorder = NO_RECORDER,
) -> History:
    """Train and return the losses and times. All ranks start with the same parameters and return the same losses.

    Parameters
    ----------
    start : Start, optional
        Continue there. The state of the program is the state at that point.
    recorder : Recorder
        Writes the log and the checkpoints, on rank 0.

    Raises
    ------
    DivergedError
        A loss or the norm of the gradients is not finite. The parameters stay as they were before the step.
    """
    history, updates = start.history if start else History(), settings.updates
    rows = settings.B, settings.T, settings.seed, ranks.rank, ranks.count
    train, held_out = (Loader(tokens, *rows) for tokens in (data.train, data.validation))
    if start:
        train.restore(start.loader)
    validate_at = {round(i * updates / max(1, settings.evaluations - 1)) for i in range(settings.evaluations)}

    def validate(step: int) -> None:
        loss = ranks.mean(validation_loss(program, held_out, settings.validation_batches, step))
        history.val_loss.append(loss)
        history.val_steps.append(step)
        watcher.validated(step, loss)
        recorder.validated(step, loss)

    # An interrupted run leaves out the validation after its last step. The run that continues it makes up for it.
    if history.steps in validate_at and history.steps not in history.val_steps:
        validate(history.steps)
    for step in range(history.steps + 1, updates + 1):
        began = time.perf_counter()
        loss, norm = _gradients(program, train, settings.micro_steps, ranks, step)
        learning_rate = settings.schedule(step - 1)
        recorder.before_update()
        program.apply(learning_rate=learning_rate, grad_scale=clip_scale(norm, settings.clip), step=step)
        update = Update(step, ranks.mean(loss), norm, learning_rate, time.perf_counter() - began)
        history.add(update)
        watcher.stepped(update)
        recorder.stepped(update)
        stop = ranks.any(interrupt.requested)
        if stop and step < updates:
            history.interrupted = True
            history.signal = (interrupt.signal or Signals.SIGINT).name  # another rank may have received the signal
        if (step in validate_at and not stop) or step == updates:
            validate(step)
        recorder.finished(step, train.state(), last=stop or step == updates)
        if stop:
            break
    return history


def _gradients(program: Program, train: Loader, micro_steps: int, ranks: Ranks, step: int) -> tuple[float, float]:
    """Compute the gradients of an update; return the mean loss of this rank's tokens, and the norm of the gradients."""
    losses = []
    for micro_step in range(micro_steps):
        program.load(*train.next_batch())
        losses.append(_checked(program, program.micro_step(accumulate=micro_step > 0), "loss", step))
    ranks.all_reduce_sum(program.all_gradients)
    norm = program.gradient_norm()
    if not math.isfinite(norm):
        raise DivergedError(step, "norm of the gradients", norm, ranks.first(program.first_fault()))
    return statistics.fmean(losses), norm
