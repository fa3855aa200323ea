"""Compile every kernel on a tiny model before the memory of the real one is taken, then give back what the compiler freed.

Numba compiles a function when it is first called, or reads it from its cache. Both take memory, above all for the modules that
LLVM works on, and LLVM frees most of it again. If the first real step compiled, this peak would stand on top of the arena.
"""

from __future__ import annotations

import ctypes
import gc
import time
from typing import TYPE_CHECKING

import numpy as np

from trainer.program import Outline, Program
from trainer.trial import whole_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from models.model import Model
    from registry.devices import Device
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["give_back", "warm_up"]

MICRO_STEPS = 2
WORTH_A_LINE = 5.0  # seconds


def warm_up(
    table: Table,
    model: Model,
    sets: Sequence[Mapping[tuple[str, str], Variant]],
    device: Device,
    threads: int,
    dtype: str,
    say: Callable[[str], None],
) -> None:
    """Make an update of two micro-steps of a tiny relative of `model`, of the same head size, with each set of variants.

    A variant that refuses so small a problem is compiled in the first real step instead. So is what comes after a variant that
    fails on it: that is said, and no reason to stop.
    """
    start = time.perf_counter()
    tiny = model.small()
    batch, sequence = tiny.recipe.batch, tiny.recipe.sequence
    outline = Outline(table, tiny, batch, sequence, MICRO_STEPS, dtype=dtype)
    try:
        small = [_that_take_it(outline, table, variants) for variants in sets]
        program = Program(outline, small[0], device, threads, small[1:])
        program.initialise(seed=0)
        tokens = np.arange(batch * sequence, dtype=np.int32).reshape(batch, sequence) % tiny.vocabulary
        program.load(tokens, tokens)
        for variants in small:
            program.use(variants)
            program.validate()
            program.next_logits([0])
            whole_step(program, MICRO_STEPS)
    except Exception as error:  # noqa: BLE001 (whatever somebody's kernel raises: the real step is what counts)
        say(f"not every kernel is compiled beforehand: on a tiny model, {type(error).__name__}: {' '.join(str(error).split())}")
        return
    if (seconds := time.perf_counter() - start) > WORTH_A_LINE:
        say(f"compiled the kernels in {seconds:.0f} s")


def _that_take_it(
    outline: Outline, table: Table, variants: Mapping[tuple[str, str], Variant]
) -> dict[tuple[str, str], Variant]:
    """Return the variants, the plain definition instead of each that refuses its problem."""
    calls = [*outline.step, *outline.backward_more, *outline.generate]
    refused = {(c.op.name, c.label) for c in calls if c.refusals(variants[c.op.name, c.label])}
    return {need: table.variant(need[0], "numpy") if need in refused else variant for need, variant in variants.items()}


def give_back() -> None:
    """Return to the system the free part of the heap; do nothing where the C library has no way to."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
