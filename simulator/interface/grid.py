"""A launch as the scheduler reads it, and the outcome that it returns; ``simulator/native/scheduler.hpp`` runs the grid."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["BASIC_BLOCK", "GRID", "Outcome"]


class Outcome(IntEnum):
    """How a launch ended."""

    DONE = 0
    STUCK = 2
    FAULT = 3
    SPINNING = 5
    BARRIER_STUCK = 6


BASIC_BLOCK = np.dtype([("function", np.int64), *((name, np.int32) for name in ("taken", "others", "priority", "at_priority"))])
"""A basic block: its machine code, the next block of lanes that take the branch at its end, the next block of other lanes, its
priority, and the block whose priority is the number of this block."""

GRID = np.dtype(
    [
        # Addresses of the basic blocks, of the warps' states, and of the checker or 0.
        *((name, np.int64) for name in ("basic_blocks", "states", "checker")),
        # Of one warp: bytes of its state, offsets of counters and registers in it, blocks and the words of a set of them.
        *((name, np.int64) for name in ("state_bytes", "counters", "registers", "basic_block_count", "words")),
        # Backward jumps that a warp may make before others have their turn, and turns that may end so before the launch does.
        *((name, np.int64) for name in ("fuel", "patience")),
        # Of the launch; the orders are addresses of numbers.
        *(
            (name, np.int64)
            for name in ("warps", "threads", "block_count", "block_order", "warp_order", "shared", "shared_bytes")
        ),
        ("dimensions", np.int64, (3,)),
        # Observations: warps at different barriers, threads exited before a barrier, the block and warp that ended the launch.
        *((name, np.int64) for name in ("mixed", "mixed_first", "mixed_second", "mixed_block")),
        *((name, np.int64) for name in ("exited", "exited_first", "exited_block")),
        *((name, np.int64) for name in ("last_block", "last_warp")),
    ]
)
