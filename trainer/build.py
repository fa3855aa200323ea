"""Build the program of a run: compile its kernels, take its memory, set its weights, and settle on one set of kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.data import Loader
from trainer.kernel_choice import Kernels
from trainer.program import Program
from trainer.trial import step_seconds, swaps
from trainer.warm_up import give_back, warm_up

if TYPE_CHECKING:
    from trainer.arena import Plan
    from trainer.data import Dataset
    from trainer.opened import Opened

__all__ = ["build_program", "memory_plan", "settle_kernels", "synchronise"]


def memory_plan(run: Opened, kernels: Kernels) -> Plan:
    """Return where everything will lie, with room for each set of kernels that may be called."""
    return run.outline.plan(run.settings.threads, *kernels.sets)


def build_program(run: Opened, kernels: Kernels) -> Program:
    """Return the program with its memory and fresh weights, ready to call the chosen kernels or the alternative."""
    settings = run.settings
    if run.device.name == "host":
        warm_up(run.table, settings.model, kernels.sets, run.device, settings.threads, settings.dtype, run.say)
        give_back()
    program = Program(run.outline, kernels.variants, run.device, settings.threads, kernels.sets[1:])
    program.initialise(settings.seed)
    return program


def settle_kernels(run: Opened, kernels: Kernels, program: Program, data: Dataset) -> Kernels:
    """Return the set of kernels with which real steps are faster, after binding it to the program."""
    if not kernels.alternative:
        return kernels
    program.load(*Loader(data.train, run.settings.B, run.settings.T).next_batch())
    champions, one_pool = step_seconds(program, kernels.sets)
    times = f"a step takes {1e3 * champions:.0f} ms with the champions and {1e3 * one_pool:.0f} ms with one thread pool"
    if one_pool < champions:
        run.say("\n".join([f"{times}, which changes:", *swaps(kernels.choices, kernels.alternative)]))
        settled = Kernels(kernels.alternative)
    else:
        run.say(f"{times}; the champions stay")
        settled = Kernels(kernels.choices)
    program.use(settled.variants)
    return settled


def synchronise(run: Opened, kernels: Kernels, program: Program) -> None:
    """Give every rank the kernels and the weights of rank 0; from here on the ranks go together."""
    if run.leads:
        run.ranks.tell(",".join(f"{call}={variant}" for call, variant in kernels.names().items()))
    for weights in program.all_weights:
        run.ranks.share(weights)
