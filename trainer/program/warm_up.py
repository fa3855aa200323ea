"""Compile every kernel on a tiny model before the arena is allocated, then return the compiler's free memory to the system.

Numba compiles a function at its first call, or reads it from its cache. Both need memory, mostly for LLVM's modules, and LLVM
frees most of it again. If the first real step compiled the kernels, this peak would add to the memory of the arena.

Dims: B rows of a micro-step, T tokens of a row.
"""

from __future__ import annotations

import ctypes
import gc
import time
from typing import TYPE_CHECKING

import numpy as np

from trainer.program.program import Program
from trainer.program.template import StepTemplate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from models.model import Model
    from registry.devices import DeviceMemory
    from registry.table import Table
    from registry.variant import Variant
    from trainer.program.template import CallKey

__all__ = ["return_free_memory", "warm_up"]

MICRO_STEPS = 2
REPORTED_SECONDS = 5.0  # a shorter compilation is not reported


def warm_up(
    table: Table,
    model: Model,
    sets: Sequence[Mapping[CallKey, Variant]],
    device: DeviceMemory,
    threads: int,
    dtype: str,
    say: Callable[[str], None],
) -> None:
    """Run one update of two micro-steps with each set of variants, on a tiny model with the head size of `model`.

    A variant that refuses the small problems is compiled in the first real step instead. If a variant fails on a small problem,
    this function reports the error and returns, and the remaining kernels are compiled in the first real step.
    """
    start = time.perf_counter()
    tiny = model.small()
    batch, sequence = tiny.recipe.batch, tiny.recipe.sequence
    template = StepTemplate(table, tiny, batch, sequence, MICRO_STEPS, dtype=dtype)
    try:
        small = [_replace_refusing(template, table, variants) for variants in sets]
        program = Program(template, small[0], device, threads, small[1:])
        program.initialise(seed=0)
        tokens_BT = np.arange(batch * sequence, dtype=np.int32).reshape(batch, sequence) % tiny.vocabulary
        program.load(tokens_BT, tokens_BT)
        for variants in small:
            program.bind(variants)
            program.validate()
            program.next_logits([0])
            program.whole_step(MICRO_STEPS)
    except Exception as error:  # noqa: BLE001 (a user's kernel may raise anything; only the real step must succeed)
        say(
            f"the first step will compile some kernels: on a tiny model, {type(error).__name__}: {' '.join(str(error).split())}"
        )
        return
    if (seconds := time.perf_counter() - start) > REPORTED_SECONDS:
        say(f"compiled the kernels in {seconds:.0f} s")


def _replace_refusing(template: StepTemplate, table: Table, variants: Mapping[CallKey, Variant]) -> dict[CallKey, Variant]:
    """Return the variants, with the numpy reference in place of each variant that refuses its problem."""
    calls = [*template.step, *template.backward_more, *template.generate]
    refused = {(c.op.name, c.label) for c in calls if c.refusals(variants[c.op.name, c.label])}
    return {key: table.variant(key[0], "numpy") if key in refused else variant for key, variant in variants.items()}


def return_free_memory() -> None:
    """Return the free part of the heap to the system, if the C library has a function for it."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
