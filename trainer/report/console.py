"""The printed tables of memory and kernels, and the progress bar of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from registry.enums import Device
from registry.listing import Column, Listing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from trainer.loop import Update
    from trainer.program.arena import Plan
    from trainer.program.template import CallKey
    from trainer.selection.kernel_set import Choice

__all__ = ["LastingConsole", "ProgressBar", "choices_table", "plan_table"]

MIB = 2**20
LINES = 20  # progress lines of a run whose standard error is not a terminal


def plan_table(plan: Plan) -> Listing:
    """Return the table of the memory plan, and of the copy from which checkpoints are written."""
    table = Listing(Column("memory", key=True), Column("MiB", justify="right"), title="One arena, allocated once")
    for name, size in plan.rows():
        table.add(name, f"{size:.1f}", style="bold" if name == "total" else "")
    table.add("copy for checkpoints", f"{plan.state_bytes / MIB:.1f}")
    return table


def choices_table(choices: Mapping[CallKey, Choice], *, explain: bool) -> Listing:
    """Return the table of kernels: a row for each op and variant or, with `explain`, for each call with the runner-up."""
    keys = Column("op", key=True), Column("calls", key=True, wrap=not explain), Column("variant", key=True)
    facts = [Column("why", wrap=True), Column("runner-up", wrap=True)]
    if explain:
        table = Listing(*keys, *facts, title="Kernels")
        for (op, label), choice in choices.items():
            table.add(op, label, choice.variant.name, choice.reason, choice.detail)
        return table
    table = Listing(*keys, facts[0], title="Kernels")
    grouped: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for (op, label), choice in choices.items():
        grouped.setdefault((op, choice.variant.name), []).append((label, choice.reason))
    for (op, variant), calls in grouped.items():
        labels, reasons = ([pair[i] for pair in calls] for i in (0, 1))
        table.add(op, " ".join(labels), variant, reasons[0] + (", ..." if len(set(reasons)) > 1 else ""))
    return table


class LastingConsole(Console):
    """A console whose reader may end before the run. The run goes on without output: it has a model to save."""

    def on_broken_pipe(self) -> None:
        """Drop the output, where rich would end the process."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


class ProgressBar:
    """A bar on standard error with loss, tokens per second and share of the roofline; lines if there is no terminal.

    Parameters
    ----------
    steps : int
        Number of updates.
    tokens, flops : float
        Tokens and floating-point operations of one update.
    gflops : float, optional
        Measured peak. Without a peak, the bar shows no share of the roofline.
    device : Device
        The device of the program. For ``"sim"`` the bar says that the speed is the simulator's.
    quiet : bool
        Print nothing, in a rank other than 0.
    """

    def __init__(
        self, steps: int, tokens: int, flops: float, gflops: float | None, device: Device = Device.CPU, *, quiet: bool = False
    ) -> None:
        self.console = LastingConsole(stderr=True, quiet=quiet)
        self._unit = "tokens/s" + (" in the simulator" if device == Device.SIM else "")
        self._steps, self._tokens, self._flops, self._gflops = steps, tokens, flops, gflops
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[facts]}"))
        self._progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._progress.add_task("", total=steps, facts="")
        self._val_loss = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def stepped(self, update: Update) -> None:
        """Show the facts of an update."""
        step, loss, seconds = update.step, update.loss, update.seconds
        facts = f"loss {loss:.3f}{self._val_loss}  {self._tokens / seconds:,.0f} {self._unit}"
        if self._gflops:
            facts += f"  {self._flops / seconds / 1e9 / self._gflops:.0%} of roofline"
        self._progress.update(self._task, completed=step, facts=facts)
        if not self.console.is_terminal and (step % max(1, self._steps // LINES) == 0 or step in (1, self._steps)):
            self.say(f"step {step}/{self._steps}  {facts}")

    def validated(self, step: int, loss: float) -> None:
        """Show a validation loss."""
        self._val_loss = f"  val {loss:.3f}"
        self.say(f"validation loss after {step} steps: {loss:.4f}")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
