"""The memory of the checker, field by field; `simulator.native` declares the same structures in C++.

There is one `CHECKER` for a launch: scalars (addresses of the larger arrays, sizes, counts), then the clocks of the running
block's threads and the epochs of other threads that each warp and lane knows (see ``simulator/native/order.hpp``).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

__all__ = [
    "CHECKER",
    "COPY",
    "COUNTER",
    "GRANULE",
    "PATTERN",
    "QUEUE_LENGTH",
    "RECORD",
    "REPORT",
    "THREADS",
    "VARIABLES",
    "WARPS",
    "Code",
    "Shadow",
]

WARPS, THREADS = 32, 1024
"""Of a block, at most."""
_LANES = 32
_SCOPES = 2
VARIABLES = 62
"""Places that atomics synchronise through and that have a number of their own; further places share the last number. Each has a
bit in an int64."""
QUEUE_LENGTH = 256
"""Copies that a thread may have in flight."""


class Code(IntEnum):
    """The kind of a report."""

    OUT_OF_BOUNDS = 1
    MISALIGNED = 2
    READ_ONLY = 3
    UNINITIALISED_SHARED = 4
    UNINITIALISED = 5
    MISSING_WAIT = 6
    RACE = 7
    SAME_VALUE_RACE = 8
    NOT_A_MEMBER = 9
    TOO_MANY_COPIES = 10
    TOO_MANY_RELEASES = 11


class Shadow(IntFlag):
    """The state of a byte of the arena."""

    VALID = 1
    INITIALISED = 2
    READ_ONLY = 4
    IN_FLIGHT = 8


def _longs(*names: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64) for name in names])


REPORT = _longs("code", "index", "other_index", "thread", "other_thread", "offset", "size", "times")
"""A finding: two instructions, the other -1 where there is none; threads are block * 1024 + thread."""
COUNTER = _longs("requests", "lanes", "turns", "ideal", "bytes")
"""Of an instruction, one for device and one for shared memory: sectors or wavefronts, and the fewest there could be."""
COPY = _longs("offset", "size", "group")
"""A copy in flight."""
RECORD = _longs("variable", "next")
"""A block's release to a variable; `next` is one more than the number of the block's next record, 0 for none."""
GRANULE = np.dtype([("written", np.int64), ("read", np.int64, (2,)), ("writer", np.int32), ("reader", np.int32)])
"""Stamps of a granule's last write and of two of its last reads, and the instructions."""
PATTERN = np.dtype([("lanes", np.int64), ("distances", np.int64, (_LANES,)), ("costs", np.int64, (_LANES,))])
"""An instruction's last access: its lanes, their distances from the first, costs by its position in a sector."""

CHECKER = np.dtype(
    [
        *(
            (name, np.int64)
            for name in (
                *("shadow", "arena_size", "granule_shift", "granules", "warps", "threads"),
                *("shared_start", "shared_end", "local_start", "block"),
                *("reports", "report_count", "report_limit", "counters", "patterns", "copies", "copy_state"),
                *("records", "record_count", "record_limit", "record_heads", "record_rows", "variable_count"),
                "barrier_fenced_any",
                "learned",  # whether the block has synchronised threads by other means than barriers of the whole block
            )
        ),
        # Each thread's epoch.
        ("clock", np.int64, (THREADS,)),
        # Per warp: of every thread of the block, all epochs below are known.
        ("base", np.int64, (WARPS,)),
        # Per warp: of its own lanes, all epochs below are known to all of its lanes.
        ("warp_base", np.int64, (WARPS,)),
        # Per warp, lane and lane: the last epoch of the second that the first knows.
        ("known_lanes", np.int64, (WARPS, _LANES, _LANES)),
        # Per warp and thread: the last epoch of the thread that the warp knows.
        ("known", np.int64, (WARPS, THREADS)),
        # Per warp: the set of variables it has read after other blocks released them.
        ("acquired", np.int64, (WARPS,)),
        # Per scope (block, device) and warp: the lanes that have executed a fence.
        ("fenced", np.int64, (_SCOPES, WARPS)),
        # Like `known_lanes`, `known` and `acquired`, per scope, as they were at the last fence.
        ("fenced_lanes", np.int64, (_SCOPES, WARPS, _LANES, _LANES)),
        ("fenced_known", np.int64, (_SCOPES, WARPS, THREADS)),
        ("fenced_acquired", np.int64, (_SCOPES, WARPS)),
        # Per scope and thread: its epoch at its last fence.
        ("fence_clock", np.int64, (_SCOPES, THREADS)),
        # `fence_clock` as it was at the block's last barrier: a release after the barrier includes this.
        ("barrier_fenced", np.int64, (_SCOPES, THREADS)),
        # Per variable: its offset, and the variables that the releasing warps had acquired.
        ("variable_offset", np.int64, (VARIABLES,)),
        ("variable_inherited", np.int64, (VARIABLES,)),
        # Per variable: the block, plus 1, whose threads' epochs `variable_known` holds.
        ("variable_block", np.int64, (VARIABLES,)),
        # Per variable and thread: the last epoch released to it in the running block.
        ("variable_known", np.int64, (VARIABLES, THREADS)),
    ]
)
