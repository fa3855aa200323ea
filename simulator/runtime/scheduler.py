"""The blocks of a grid one after another, and in each the warps in turn: barriers, yields and ends (compiled by numba)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numba import int32, int64, uint8

from simulator.checks.order import join_at_barrier, start_block
from simulator.codegen.layout import OFFSETS, PENDING
from simulator.runtime.jit import compiled, count_lanes, entry, run_warp

if TYPE_CHECKING:
    import numpy.typing as npt

    from simulator.runtime.jit import Longs, Number, Words

__all__ = ["CONTROL", "NOTE_FIELDS", "Outcome", "compile_run_grid", "run_grid"]


class Outcome(IntEnum):
    """How a launch ended."""

    DONE = 0
    STUCK = 2
    FAULT = 3
    SPINNING = 5
    BARRIER_STUCK = 6


CONTROL = ("blocks", "words", "pending_set", "blocked_set", "fuel", "patience", "checker", "threads", "registers")
"""What `run_grid` is told, in order."""
NOTE_FIELDS = ("mixed", "mixed_first", "mixed_second", "mixed_block", "exited", "exited_pc", "exited_block", "block", "warp")
"""What `run_grid` leaves in its notes, in order."""

_LIVE, _BLOCK, _CTAID = OFFSETS["live"] // 4, OFFSETS["block"] // 4, OFFSETS["ctaid"] // 4
_BAR_ID, _BAR_COUNT = OFFSETS["barrier_id"] // 4, OFFSETS["barrier_count"] // 4
_BAR_KIND, _BAR_PC = OFFSETS["barrier_kind"] // 4, OFFSETS["barrier_pc"] // 4
_BAR_VOTES, _BAR_SLOT = OFFSETS["barrier_votes"] // 4, OFFSETS["barrier_slot"] // 4
_FUEL = OFFSETS["fuel"] // 8
_PENDING_WORD = PENDING // 4
_EXIT, _BARRIER, _YIELD = 0, 1, 4
_READY, _WAITING, _ENDED = 0, 1, 2
_AND, _OR, _POPC, _ARRIVE = 1, 2, 3, 4
_BARRIERS = 16
_WARP = 32


@compiled
def _begin(words: Words, longs: Longs, control: Longs, grid: Longs, block: int) -> None:
    """Put every warp at the kernel's first block."""
    threads = control[7]
    for warp in range(words.shape[0]):
        count = min(32, threads - 32 * warp)
        live = np.int32(-1) if count == _WARP else np.int32((np.int64(1) << count) - 1)
        words[warp, _PENDING_WORD : _PENDING_WORD + control[0]] = 0
        for word in range(control[1]):
            longs[warp, control[2] // 8 + word] = 0
            longs[warp, control[3] // 8 + word] = 0
        if control[6]:  # a NaN in every format: registers read too early show in the numbers
            words[warp, control[8] // 4 :] = -1
        words[warp, _LIVE] = live
        words[warp, _PENDING_WORD] = live
        longs[warp, control[2] // 8] = 1
        words[warp, _CTAID] = block % grid[0]
        words[warp, _CTAID + 1] = block // grid[0] % grid[1]
        words[warp, _CTAID + 2] = block // (grid[0] * grid[1])
        words[warp, _BLOCK] = block


@compiled
def _give_votes(words: Words, state: Longs, number: int) -> None:
    """Write the result of bar.red where each warp wants it."""
    votes, threads, kind = 0, 0, 0
    for warp in range(words.shape[0]):
        if state[warp] == _WAITING and words[warp, _BAR_ID] == number:
            kind = words[warp, _BAR_KIND]
            votes += count_lanes(words[warp, _BAR_VOTES])
            threads += count_lanes(words[warp, _LIVE])
    if kind == 0:
        return
    for warp in range(words.shape[0]):
        if state[warp] == _WAITING and words[warp, _BAR_ID] == number:
            slot = words[warp, _BAR_SLOT] // 4
            if kind == _POPC:
                words[warp, slot : slot + 32] = votes
            elif kind == _AND:
                words[warp, slot] = -1 if votes == threads else 0
            else:
                words[warp, slot] = -1 if votes else 0


@compiled
def _release(  # noqa: C901, PLR0912 (all sixteen barriers in one pass)
    words: Words, state: Longs, arrived: Longs, control: Longs, notes: Longs, block: int
) -> bool:
    """Let the warps go whose barrier is complete; return whether there were any."""
    released = False
    alive, waited_at = 0, 0
    for warp in range(words.shape[0]):
        if state[warp] != _ENDED:
            alive += count_lanes(words[warp, _LIVE])
        if state[warp] == _WAITING:
            waited_at |= 1 << words[warp, _BAR_ID]
    for number in range(_BARRIERS):
        if not (waited_at >> number) & 1:
            continue
        here, wanted, first, second = arrived[number], 0, -1, -1
        for warp in range(words.shape[0]):
            if state[warp] == _WAITING and words[warp, _BAR_ID] == number:
                here += count_lanes(words[warp, _LIVE])
                wanted = max(wanted, words[warp, _BAR_COUNT])
                if first < 0:
                    first = words[warp, _BAR_PC]
                elif first != words[warp, _BAR_PC]:
                    second = words[warp, _BAR_PC]
        if first < 0 or here < (wanted or alive):
            continue
        if second >= 0 and not notes[0]:
            notes[0], notes[1], notes[2], notes[3] = 1, first, second, block
        if not wanted and alive < control[7] and not notes[4]:
            notes[4], notes[5], notes[6] = 1, first, block
        _give_votes(words, state, number)
        if control[6]:
            join_at_barrier(control[6], words, state, number)
        for warp in range(words.shape[0]):
            if state[warp] == _WAITING and words[warp, _BAR_ID] == number:
                state[warp] = _READY
        arrived[number] = 0
        released = True
    return released


@compiled
def _run_block(  # noqa: C901 (the turns of the warps in one loop)
    function: int,
    words: Words,
    longs: Longs,
    base: int,
    control: Longs,
    warp_order: Longs,
    notes: Longs,
    block: int,
    state: Longs,
    arrived: Longs,
) -> Number:
    """Run one block to its end; return an outcome."""
    state[:] = _READY
    arrived[:] = 0
    yields = 0
    while True:
        ready = 0
        for turn in range(words.shape[0]):
            warp = warp_order[turn]
            if state[warp] != _READY:
                continue
            longs[warp, _FUEL] = control[4]
            status = run_warp(function, base + warp * words.shape[1] * 4)
            if status == _EXIT:
                state[warp] = _ENDED
                yields = 0
            elif status == _BARRIER and words[warp, _BAR_KIND] == _ARRIVE:
                arrived[words[warp, _BAR_ID]] += count_lanes(words[warp, _LIVE])
                ready += 1
            elif status == _BARRIER:
                state[warp] = _WAITING
            elif status == _YIELD:
                ready += 1
                yields += 1
                if yields > control[5]:
                    notes[7], notes[8] = block, warp
                    return 5
            else:
                notes[7], notes[8] = block, warp
                return status
        if ready:
            continue
        if not np.any(state == _WAITING):
            return 0
        if not _release(words, state, arrived, control, notes, block):
            notes[7], notes[8] = block, -1
            return 6
        yields = 0


@entry
def run_grid(
    function: int,
    words: Words,
    longs: Longs,
    base: int,
    control: Longs,
    grid: Longs,
    block_order: Longs,
    warp_order: Longs,
    shared: npt.NDArray[np.uint8],
    notes: Longs,
) -> Number:
    """Run every block of a grid and return an outcome.

    `function` is the address of the code that runs a warp. `words` and `longs` are the warps' states as 32-bit and 64-bit
    integers, one row per warp, at the address `base`.
    """
    state = np.zeros(words.shape[0], np.int64)
    arrived = np.zeros(_BARRIERS, np.int64)
    for turn in range(block_order.shape[0]):
        block = block_order[turn]
        shared[:] = 0xFF  # a NaN in every format: shared memory read too early shows in the numbers
        if control[6]:
            start_block(control[6], block)
        _begin(words, longs, control, grid, block)
        outcome = _run_block(function, words, longs, base, control, warp_order, notes, block, state, arrived)
        if outcome != 0:
            return outcome
    return 0


def compile_run_grid() -> None:
    """Compile `run_grid` for the types that launches call it with, or read it from disk."""
    words, longs, row = int32[:, ::1], int64[:, ::1], int64[::1]
    signature = (int64, words, longs, int64, row, row, row, row, uint8[::1], row)
    run_grid.compile(signature)  # type: ignore[attr-defined]  # numba has no types
