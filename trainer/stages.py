"""The stages of a run, from its settings to its result. Each stage is a function of another file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.build import build_program, memory_plan, settle_kernels, synchronise
from trainer.data.dataset import open_data
from trainer.opened import open_run
from trainer.ranks.interface import SINGLE_PROCESS
from trainer.selection.kernel_choice import choose_kernels, choose_without_racing, prove_on_gpu, race_missing, right_at_shapes
from trainer.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.data.dataset import Dataset
    from trainer.opened import Opened
    from trainer.program.arena import Plan
    from trainer.program.program import Program
    from trainer.ranks.interface import Ranks
    from trainer.selection.kernel_choice import Kernels
    from trainer.settings import Settings
    from trainer.train import Result

__all__ = ["Built", "Prepared", "build", "plan_run", "prepare", "train_run"]


@dataclass(frozen=True)
class Prepared:
    """A run with chosen kernels and open data, before its memory is allocated."""

    opened: Opened
    data: Dataset
    kernels: Kernels


@dataclass(frozen=True)
class Built:
    """A run with memory and weights. All ranks have the same kernels."""

    program: Program
    kernels: Kernels


def train_run(
    settings: Settings,
    say: Callable[[str], None],
    show: Callable[[Kernels, Plan], None],
    ranks: Ranks = SINGLE_PROCESS,
    folder: Path | None = None,
) -> Result:
    """Train a model.

    Parameters
    ----------
    say : callable
        Prints a line of progress, before the training starts and after it ends.
    show : callable
        Prints the chosen kernels and the memory plan, before the memory is allocated.
    folder : Path, optional
        The folder in which rank 0 saves the model. None on the other ranks.

    Raises
    ------
    RequestError
        A setting names something unknown, unproven, or not available on this machine.
    DivergedError
        A loss is not finite. Nothing is saved.
    """
    prepared = prepare(settings, say, ranks)
    show(prepared.kernels, memory_plan(prepared.opened, prepared.kernels))
    built = build(prepared)
    return train(prepared.opened, built.kernels.names(), built.program, prepared.data, folder)


def prepare(settings: Settings, say: Callable[[str], None], ranks: Ranks = SINGLE_PROCESS) -> Prepared:
    """Choose the kernels and open the data.

    Rank 0 proves and races the variants that have no record, and compares the chosen variants with the reference at the shapes
    of this run. The function reports a mistake in the request before a race, which takes minutes.
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
    """Compile the kernels, allocate the memory and set the weights."""
    opened = prepared.opened
    program = build_program(opened, prepared.kernels)
    kernels = settle_kernels(opened, prepared.kernels, program, prepared.data)
    synchronise(opened, kernels, program)
    return Built(program, kernels)


def plan_run(settings: Settings, say: Callable[[str], None], ranks: Ranks = SINGLE_PROCESS) -> tuple[Kernels, Plan]:
    """Return the kernels and the memory plan of a run without training. The numpy reference replaces missing champions."""
    opened = open_run(settings, say, ranks)
    prove_on_gpu(opened)
    kernels = choose_without_racing(opened)
    return kernels, memory_plan(opened, kernels)
