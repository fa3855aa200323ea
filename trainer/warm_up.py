"""Compile every kernel on a tiny model before the memory of the real one is taken, then give back what the compiler used.

Numba compiles a function when it is first called, or reads it from its cache; either way LLVM takes memory: for its code,
for the modules it works on. Were that in the first real step, its peak would stand on top of the whole arena's.
"""

from __future__ import annotations

import ctypes
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import RequestError
from registry.models import ModelShape
from trainer.program import Outline, Program
from trainer.trial import whole_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from registry.devices import Device
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["give_back", "warm_up"]

LAYERS, HEADS, BATCH, SEQUENCE, VOCABULARY, PADDED = 2, 2, 2, 64, 120, 128
WORTH_A_LINE = 5.0  # seconds
MAPS = Path("/proc/self/maps")
COMPILER = "libllvmlite"
MADV_PAGEOUT = 21  # linux/mman.h, since Linux 5.4


def warm_up(
    table: Table,
    model: ModelShape,
    sets: Sequence[Mapping[tuple[str, str], Variant]],
    device: Device,
    threads: int,
    dtype: str,
    say: Callable[[str], None],
) -> None:
    """Make one step of a tiny relative of `model`, of the same head size, with each set of variants.

    A kernel that refuses so small a problem is compiled in the first real step instead.
    """
    start = time.perf_counter()
    tiny = ModelShape("tiny", LAYERS, HEADS * model.head_size, HEADS, SEQUENCE, VOCABULARY, PADDED)
    outline = Outline(table, tiny, BATCH, SEQUENCE, dtype=dtype)
    try:
        program = Program(outline, sets[0], device, threads, sets[1:])
        program.initialise(seed=0)
        tokens = np.arange(BATCH * SEQUENCE, dtype=np.int32).reshape(BATCH, SEQUENCE) % VOCABULARY
        program.load(tokens, tokens)
        for variants in sets:
            program.use(variants)
            program.validate()
            whole_step(program)
    except RequestError:
        return
    if (seconds := time.perf_counter() - start) > WORTH_A_LINE:
        say(f"compiled the kernels in {seconds:.0f} s")


def give_back() -> None:
    """Return to the system what is free of the heap, and the pages of LLVM's code, which come back by themselves if needed.

    Does nothing where the system has no way to: it is a matter of memory only.
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    if not MAPS.exists() or not hasattr(libc, "madvise"):
        return
    for line in MAPS.read_text().splitlines():
        if COMPILER in line:
            span, access, *_ = line.split()
            first, last = (int(address, 16) for address in span.split("-"))
            if "w" not in access:
                libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_PAGEOUT)
