"""The layout of a warp's state, and the codes that generated code, the scheduler and the launcher exchange.

The state of a warp is one row of bytes: the header below, vector slots for calls of support functions, one pending lane mask
per basic block, the bit sets of pending and of blocked blocks, counters, and the registers that live across blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np

__all__ = [
    "ADDRESS_BIAS",
    "ALL_LANES",
    "ATOMIC_OPERATIONS",
    "ATOMIC_TYPES",
    "BARRIERS",
    "BLOCK_COUNTER",
    "COMMIT",
    "DONE",
    "FUNCTIONS",
    "HEADER",
    "LANES",
    "OFFSETS",
    "PARAMETERS",
    "PARAMETER_BYTES",
    "PENDING",
    "REDUCTIONS",
    "SCRATCH",
    "SLOT_BYTES",
    "VARIABLES",
    "WAITS",
    "Access",
    "Barrier",
    "Fault",
    "StateLayout",
    "Status",
    "aligned",
    "returned",
]

LANES = 32
ALL_LANES = 0xFFFFFFFF
ADDRESS_BIAS = 0x7000_0000_0000
"""Device address = bias + offset into the arena: no small integer is a valid pointer."""
PARAMETERS = 256
"""Offset of the parameter block in the arena."""
PARAMETER_BYTES = 4096
VARIABLES = PARAMETERS + PARAMETER_BYTES + 256
"""Offset of the module's variables in the arena."""


class Status(IntEnum):
    """Why a warp handed control back."""

    EXIT = 0
    BARRIER = 1
    STUCK = 2
    FAULT = 3
    YIELD = 4


WAITS, DONE = -1, -2
"""Results of the function of a basic block that are no mask of lanes. `WAITS`: it has not run, since it waits for other lanes.
`DONE`: it has run and queued its lanes. Smaller results are a status: see `returned`."""


def returned(status: Status) -> int:
    """Return how the function of a basic block hands a status to the dispatcher."""
    return DONE - 1 - status


class Fault(IntEnum):
    """The faults that generated code finds without the checker."""

    NONE = 0
    OUT_OF_BOUNDS = 1
    TRAP = 2
    ASSERT = 3
    CHECKED = 4
    """The checker has already written its finding."""


COMMIT = -1
"""Instead of a number of groups to wait for: `cp.async.commit_group`."""
BARRIERS = 16
"""Named barriers of a block."""
FUNCTIONS = "functions"
"""The name, in a kernel's machine code, of the addresses of its basic blocks' functions."""


class Access(IntFlag):
    """The properties of an access, as the checker gets them."""

    READ = 0
    WRITE = 1
    ATOMIC = 2
    STRONG = 4
    ACQUIRE = 8
    RELEASE = 16
    SHARED = 32
    LOCAL = 64
    BLOCK_SCOPE = 128


class Barrier(IntEnum):
    """The operation of a barrier of the block, in addition to waiting."""

    SYNC = 0
    AND = 1
    OR = 2
    POPC = 3
    ARRIVE = 4


ATOMIC_OPERATIONS = ("add", "min", "max", "exch", "cas", "and", "or", "xor", "inc", "dec")
ATOMIC_TYPES = ("u32", "s32", "f32", "u64", "s64", "f64", "b32", "b64", "b16")
REDUCTIONS = ("add", "min", "max", "and", "or", "xor")
"""Generated code passes the position in the tuple."""

BLOCK_COUNTER = np.dtype([(name, np.int64) for name in ("runs", "lane_runs", "divergent")])
"""How often a basic block ran, for how many lanes in all, and how often they parted at its end."""

HEADER = np.dtype(
    [
        ("tid", np.int32, (3, LANES)),
        ("live", np.int32),
        ("barrier_id", np.int32),
        ("barrier_count", np.int32),
        ("barrier_kind", np.int32),
        ("barrier_pc", np.int32),
        ("barrier_votes", np.int32),
        ("barrier_slot", np.int32),
        ("held", np.int32),
        ("pending_set", np.int32),
        ("blocked_set", np.int32),
        ("fault_code", np.int32),
        ("fault_pc", np.int32),
        ("fault_lanes", np.int32),
        ("warp", np.int32),
        ("warps", np.int32),
        ("block", np.int32),
        ("ctaid", np.int32, (3,)),
        ("ntid", np.int32, (3,)),
        ("nctaid", np.int32, (3,)),
        ("dynamic_shared", np.int32),
        ("fuel", np.int64),
        ("clock", np.int64),
        ("arena", np.int64),
        ("arena_size", np.int64),
        ("shared", np.int64),
        ("shared_size", np.int64),
        ("local", np.int64),
        ("local_stride", np.int64),
        ("checker", np.int64),
        ("print_buffer", np.int64),
    ],
    align=True,
)
"""The first bytes of a warp's state."""

OFFSETS: dict[str, int] = {name: HEADER.fields[name][1] for name in HEADER.names or () if HEADER.fields is not None}

SLOT_BYTES = 256
"""One scratch slot holds 32 lanes of 8 bytes."""
_SLOTS = 24


def aligned(offset: int, unit: int = 64) -> int:
    """Return `offset` rounded up to a multiple of `unit`."""
    return (offset + unit - 1) // unit * unit


SCRATCH = aligned(HEADER.itemsize)
PENDING = SCRATCH + _SLOTS * SLOT_BYTES


@dataclass(frozen=True, slots=True)
class StateLayout:
    """Byte offsets of the parts whose size depends on the kernel."""

    blocks: int

    @property
    def words(self) -> int:
        """Return how many 64-bit words a set of blocks takes."""
        return (self.blocks + 63) // 64

    @property
    def pending_set(self) -> int:
        """Return the offset of the set of blocks with lanes waiting to run."""
        return aligned(PENDING + 4 * self.blocks)

    @property
    def blocked_set(self) -> int:
        """Return the offset of the set of blocks that wait for other lanes of the warp."""
        return self.pending_set + 8 * self.words

    @property
    def counters(self) -> int:
        """Return the offset of the counters, a `BLOCK_COUNTER` per block."""
        return aligned(self.blocked_set + 8 * self.words)

    @property
    def registers(self) -> int:
        """Return the offset of the register file."""
        return aligned(self.counters + BLOCK_COUNTER.itemsize * self.blocks)
