"""Time a few real steps to choose between sets of kernels, because a set of champions is not always the fastest set.

A race times one op at a time. In a step, the idle threads of a BLAS library spin for a while after each product and take
cores from the compiled kernels that follow. A set whose kernels all share one thread pool may then be faster.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING

from trainer.selection.selection import Kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from registry.variant import Variant
    from trainer.program.program import Program
    from trainer.program.template import CallKey
    from trainer.selection.kernel_set import Choice

__all__ = ["ROUNDS", "pick_faster_set", "step_seconds", "swaps"]

ROUNDS = 3


def pick_faster_set(program: Program, kernels: Kernels, say: Callable[[str], None]) -> Kernels:
    """Time steps on the loaded batch with the chosen and the alternative kernels, bind the faster set, and return it."""
    champions, alternative = step_seconds(program, kernels.sets)
    times = f"a step takes {1e3 * champions:.0f} ms with the champions and {1e3 * alternative:.0f} ms with one thread pool"
    if alternative < champions:
        changes = swaps(kernels.choices, kernels.alternative)
        say("\n".join([f"{times}; the run takes one thread pool, with these changes:", *changes]))
        faster = Kernels(kernels.alternative)
    else:
        say(f"{times}; the run keeps the champions")
        faster = Kernels(kernels.choices)
    program.bind(faster.variants)
    return faster


def step_seconds(program: Program, sets: Sequence[Mapping[CallKey, Variant]], rounds: int = ROUNDS) -> list[float]:
    """Return the median time of a step with each set, on the loaded batch. The parameters and the moments do not change.

    The sets take turns. The first step of each set is not counted, since it may compile and touch memory for the first time.
    """
    samples: list[list[float]] = [[] for _ in sets]
    for _ in range(rounds + 1):
        for times, variants in zip(samples, sets, strict=True):
            program.bind(variants)
            start = time.perf_counter()
            program.whole_step()
            times.append(time.perf_counter() - start)
    program.reset_optimizer()
    return [statistics.median(times[1:]) for times in samples]


def swaps(before: Mapping[CallKey, Choice], after: Mapping[CallKey, Choice]) -> list[str]:
    """Return the changes from one set to the other as text: a line for each op and pair of variants."""
    changed = Counter(
        (op, before[op, label].variant.name, after[op, label].variant.name)
        for op, label in before
        if before[op, label].variant is not after[op, label].variant
    )
    return [f"  {op}: {old} -> {new} ({n} call{'s' * (n > 1)})" for (op, old, new), n in changed.items()]
