"""Build the program of a run: compile its kernels, allocate its memory, set its weights, and choose one set of kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.enums import Device
from trainer.data.loader import Loader
from trainer.program.program import Program
from trainer.program.warm_up import return_free_memory, warm_up
from trainer.selection.kernel_choice import Kernels
from trainer.selection.pick_faster_set import step_seconds, swaps

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset
    from trainer.opened import Opened
    from trainer.program.arena import Plan

__all__ = ["build_program", "memory_plan", "settle_kernels", "synchronise"]


def memory_plan(run: Opened, kernels: Kernels) -> Plan:
    """Return the memory plan, with a workspace that is large enough for each set of kernels."""
    return run.template.plan(run.settings.threads, *kernels.sets)


def build_program(run: Opened, kernels: Kernels) -> Program:
    """Return the program with its memory and initial weights. It can call the chosen kernels and the alternative set."""
    settings = run.settings
    if run.device.kind == Device.CPU:
        warm_up(run.table, settings.model, kernels.sets, run.device, settings.threads, settings.dtype, run.say)
        return_free_memory()
    program = Program(run.template, kernels.variants, run.device, settings.threads, kernels.sets[1:])
    program.initialise(settings.seed)
    return program


def settle_kernels(run: Opened, kernels: Kernels, program: Program, data: Dataset) -> Kernels:
    """Time real steps with the chosen and the alternative kernels, bind the faster set to the program, and return it."""
    if not kernels.alternative:
        return kernels
    program.load(*Loader(data.train, run.settings.B, run.settings.T).next_batch())
    champions, alternative = step_seconds(program, kernels.sets)
    times = f"a step takes {1e3 * champions:.0f} ms with the champions and {1e3 * alternative:.0f} ms with one thread pool"
    if alternative < champions:
        changes = swaps(kernels.choices, kernels.alternative)
        run.say("\n".join([f"{times}; the run takes one thread pool, with these changes:", *changes]))
        settled = Kernels(kernels.alternative)
    else:
        run.say(f"{times}; the run keeps the champions")
        settled = Kernels(kernels.choices)
    program.bind(settled.variants)
    return settled


def synchronise(run: Opened, kernels: Kernels, program: Program) -> None:
    """Send the kernel names and the weights of rank 0 to every rank. The other ranks wait for both."""
    if run.leads:
        run.ranks.broadcast_kernels(",".join(f"{call}={variant}" for call, variant in kernels.names().items()))
    for weights in program.all_weights:
        run.ranks.broadcast(weights)
