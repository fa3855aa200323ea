"""A run from its settings to its result: each step is one function of another file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.build import build_program, memory_plan, settle_kernels, synchronise
from trainer.data import open_data
from trainer.kernel_choice import choose_kernels, choose_without_racing, prove_on_gpu, race_missing, right_at_shapes
from trainer.opened import open_run
from trainer.ranks import ALONE
from trainer.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.arena import Plan
    from trainer.data import Dataset
    from trainer.kernel_choice import Kernels
    from trainer.opened import Opened
    from trainer.program import Program
    from trainer.ranks import Ranks
    from trainer.settings import Settings
    from trainer.train import Result

__all__ = ["Built", "Prepared", "build", "plan_run", "prepare", "train_run"]


@dataclass(frozen=True)
class Prepared:
    """A run whose kernels are chosen and whose data is open, before it takes any memory."""

    opened: Opened
    data: Dataset
    kernels: Kernels


@dataclass(frozen=True)
class Built:
    """A run with its memory and its weights, of one and the same kernels on all ranks."""

    program: Program
    kernels: Kernels


def train_run(
    settings: Settings,
    say: Callable[[str], None],
    show: Callable[[Kernels, Plan], None],
    ranks: Ranks = ALONE,
    folder: Path | None = None,
) -> Result:
    """Train a model.

    Parameters
    ----------
    say : callable
        Told, line by line, what happens before the training starts and after it ends.
    show : callable
        Shows the chosen kernels and the memory plan before any memory is taken.
    folder : Path, optional
        Where the model is saved; only rank 0 has one.

    Raises
    ------
    RequestError
        The settings ask for what is unknown, unproven, or not available here.
    DivergedError
        The loss is not finite any more; nothing is saved.
    """
    prepared = prepare(settings, say, ranks)
    show(prepared.kernels, memory_plan(prepared.opened, prepared.kernels))
    built = build(prepared)
    return train(prepared.opened, built.kernels.names(), built.program, prepared.data, folder)


def prepare(settings: Settings, say: Callable[[str], None], ranks: Ranks = ALONE) -> Prepared:
    """Choose the kernels and open the data.

    Rank 0 first proves and races the variants that have no record, and compares the chosen ones with the reference at the
    shapes of this run.

    Each mistake in the request is reported before the minutes that a race takes.
    """
    opened = open_run(settings, say, ranks)
    if opened.leads:
        prove_on_gpu(opened)
    kernels = choose_kernels(opened)
    data = open_data(settings.data, batch=settings.B * settings.ranks, sequence=settings.T, announce=say)
    if opened.leads and race_missing(opened):
        kernels = choose_kernels(opened)
    if opened.leads:
        kernels = right_at_shapes(opened, kernels)
    return Prepared(opened, data, kernels)


def build(prepared: Prepared) -> Built:
    """Compile the kernels, take the memory and set the weights."""
    opened = prepared.opened
    program = build_program(opened, prepared.kernels)
    kernels = settle_kernels(opened, prepared.kernels, program, prepared.data)
    synchronise(opened, kernels, program)
    return Built(program, kernels)


def plan_run(settings: Settings, say: Callable[[str], None], ranks: Ranks = ALONE) -> tuple[Kernels, Plan]:
    """Return kernels and memory plan of a run that is not made; the plain definition stands in for champions to be."""
    opened = open_run(settings, say, ranks)
    prove_on_gpu(opened)
    kernels = choose_without_racing(opened)
    return kernels, memory_plan(opened, kernels)
