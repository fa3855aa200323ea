"""The checker's control block: one array of 64-bit integers that compiled functions index with the constants of this file.

It starts with scalars (addresses of the larger arrays, sizes, counts); then come the clocks of the running block's threads
and what each of its warps and lanes knows of the others' (see `simulator.checks.order`).
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "ACQUIRED",
    "BARRIER_FENCED",
    "BASE",
    "CLOCK",
    "CONTROL_WORDS",
    "COUNTER_FIELDS",
    "FENCED",
    "FENCED_ACQUIRED",
    "FENCED_KNOWN",
    "FENCED_LANES",
    "FENCE_CLOCK",
    "KNOWN",
    "KNOWN_LANES",
    "RECORD_FIELDS",
    "REPORT_FIELDS",
    "SCRATCH",
    "THREADS",
    "VARIABLES",
    "VARIABLE_BLOCK",
    "VARIABLE_INHERITED",
    "VARIABLE_KEY",
    "VARIABLE_KNOWN",
    "WARPS",
    "WARP_BASE",
    "Code",
    "Field",
]

WARPS, THREADS, LANES = 32, 1024, 32
VARIABLES = 62
"""Places that atomics synchronise through, told apart; further ones share the last number. One bit each in an int64."""
_SCOPES = 2


class Field(IntEnum):
    """Scalars at the head of the control block."""

    SHADOW = 0
    ARENA_SIZE = 1
    GRANULE_SHIFT = 2
    HISTORY = 3
    GRANULES = 4
    WARPS = 5
    THREADS = 6
    SHARED_START = 7
    SHARED_END = 8
    LOCAL_START = 9
    BLOCK = 10
    REPORTS = 11
    REPORT_COUNT = 12
    REPORT_LIMIT = 13
    COUNTERS = 14
    COPIES = 15
    COPY_STATE = 16
    RECORDS = 17
    RECORD_COUNT = 18
    RECORD_LIMIT = 19
    RECORD_HEADS = 20
    RECORD_ROWS = 21
    VARIABLE_COUNT = 22
    BARRIER_FENCED_ANY = 23
    INSTRUCTIONS = 24
    LEARNED = 25
    """Whether anything but barriers of the whole block may have told threads of each other since `start_block`."""
    PATTERNS = 26
    """Address of what `simulator.checks.traffic` remembers."""


class Code(IntEnum):
    """What a report is of."""

    OUT_OF_BOUNDS = 1
    MISALIGNED = 2
    READ_ONLY = 3
    UNINITIALISED_SHARED = 4
    UNWRITTEN = 5
    MISSING_WAIT = 6
    RACE = 7
    SAME_VALUE_RACE = 8
    NOT_A_MEMBER = 9
    TOO_MANY_COPIES = 10
    TOO_MANY_RELEASES = 11


REPORT_FIELDS = 8
"""Code, instruction, the other instruction or -1, thread, the other thread or -1, offset, size, count."""
COUNTER_FIELDS = 5
"""Requests, lanes, sectors or wavefronts, the least there could be, bytes: a row for device memory, one for shared memory."""
RECORD_FIELDS = 2
"""The variable, and the block's next record or -1."""

CLOCK = 64
"""Each thread's epoch."""
BASE = CLOCK + THREADS
"""Per warp: of every thread of the block, all epochs below are known."""
WARP_BASE = BASE + WARPS
"""Per warp: of its own lanes, all epochs below are known to all of its lanes."""
KNOWN_LANES = WARP_BASE + WARPS
"""Per warp, lane and lane: the last epoch of the second that the first knows."""
KNOWN = KNOWN_LANES + WARPS * LANES * LANES
"""Per warp and thread: the last epoch of the thread that the warp knows."""
ACQUIRED = KNOWN + WARPS * THREADS
"""Per warp: the set of variables it has read after other blocks released them."""
FENCED = ACQUIRED + WARPS
"""Per scope (block, device) and warp: the lanes that have executed a fence."""
FENCED_LANES = FENCED + _SCOPES * WARPS
"""Like `KNOWN_LANES`, per scope, as it was at the lane's last fence."""
FENCED_KNOWN = FENCED_LANES + _SCOPES * WARPS * LANES * LANES
"""Like `KNOWN`, per scope, as it was at the warp's last fence."""
FENCED_ACQUIRED = FENCED_KNOWN + _SCOPES * WARPS * THREADS
"""Like `ACQUIRED`, per scope, as it was at the warp's last fence."""
FENCE_CLOCK = FENCED_ACQUIRED + _SCOPES * WARPS
"""Per scope and thread: its epoch at its last fence."""
BARRIER_FENCED = FENCE_CLOCK + _SCOPES * THREADS
"""`FENCE_CLOCK` as it was at the block's last barrier: whoever releases after it releases this too."""
VARIABLE_KEY = BARRIER_FENCED + _SCOPES * THREADS
VARIABLE_INHERITED = VARIABLE_KEY + 64
"""Per variable: what those who released it had acquired."""
VARIABLE_BLOCK = VARIABLE_INHERITED + 64
"""Per variable: the block, plus 1, whose threads' epochs `VARIABLE_KNOWN` holds."""
VARIABLE_KNOWN = VARIABLE_BLOCK + 64
"""Per variable and thread: the last epoch released to it in the running block."""
SCRATCH = VARIABLE_KNOWN + 64 * THREADS
CONTROL_WORDS = SCRATCH + 256
