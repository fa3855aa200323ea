"""`Device` and `Status`: the words that options, records and code use for a place and for an outcome, as enums."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Device", "Status"]


class Device(StrEnum):
    """The place where a variant runs, as ``--device`` and records name it."""

    CPU = "cpu"
    SIM = "sim"
    CUDA = "cuda"


class Status(StrEnum):
    """The outcome of a proof, of one contestant's race, or of one comparison at the shape of a training run.

    Each kind of record allows some of the members.
    """

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    HUNG = "hung"
    REFUSED = "refused"  # the variant does not support the problem

    # Proofs.
    PARTIAL = "partial"  # no check failed, on too few problems
    SOURCE_CHANGED = "source_changed"  # a source was written during the proof; never stored

    # Rows of a race.
    WRONG = "wrong"  # its outputs differ from torch's outputs after the race
    UNCHECKED = "unchecked"  # its outputs could not be compared
    SLOW = "slow"  # one call would exceed the time budget
    IMPLAUSIBLE = "implausible"  # its time is less than the roofline allows
    UNPROVEN = "unproven"
    UNAVAILABLE = "unavailable"  # it needs another device
    UNLOADABLE = "unloadable"

    # Comparisons.
    NOT_COMPARED = "not_compared"  # the reference needs more memory than there is

    # Findings of the simulator, in its own words.
    RACE = "race"
    BARRIER_DIVERGENCE = "barrier_divergence"
    UNINITIALISED = "uninitialised"
    OUT_OF_BOUNDS = "out_of_bounds"
    MISALIGNED = "misaligned"
    DEADLOCK = "deadlock"
    MISSING_WAIT = "missing_wait"
    READ_ONLY = "read_only"
    TRAP = "trap"
    UNSUPPORTED = "unsupported"
    SAME_VALUE_RACE = "same_value_race"
