"""The outcome of a proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.proof.reference.fakes import Tally
from registry.enums import Status

if TYPE_CHECKING:
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["Proof"]


@dataclass
class Proof:
    """The outcome of the battery for one variant.

    Attributes
    ----------
    status : Status
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused``, or the name of a fault that the simulator found, such as
        ``race``; ``partial`` if the variant failed no check and got too few problems for a proof; ``source_changed`` if a
        source file was written during the proof.
    gate, message : str
        The gate that rejected the variant, and the reason.
    problem : Problem or None
        The problem on which the variant failed.
    problems : int
        Problems that the variant passed and that reject at least one fake kernel.
    vacuous : int
        Problems that the variant passed and that reject no fake kernel, such as empty arrays.
    refused : int
        Problems that the variant does not support.
    drawn : int
        Random cases that the variant supports.
    worst_over_tolerance : float
        The largest error over its tolerance.
    source, contract : str
        Hashes of the variant's sources and of its op's contract, as they were proven.
    recheck : tuple of Problem
        Problems on which the variant failed in an earlier proof, and which this proof repeated.
    """

    variant: Variant
    status: Status = Status.PASSED
    gate: str = ""
    message: str = ""
    problem: Problem | None = None
    problems: int = 0
    vacuous: int = 0
    refused: int = 0
    drawn: int = 0
    worst_over_tolerance: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    tally: Tally = field(default_factory=Tally)
    source: str = ""
    contract: str = ""
    recheck: tuple[Problem, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the variant passed every gate."""
        return self.status == Status.PASSED

    @property
    def unharmed(self) -> bool:
        """Whether the variant failed no check, on however few problems."""
        return self.status in {Status.PASSED, Status.PARTIAL}

    def __str__(self) -> str:
        if self.passed:
            return (
                f"{self.variant} passed {self.problems} problems, worst error {self.worst_over_tolerance:.2g} of its tolerance"
            )
        if self.status in {Status.PARTIAL, Status.SOURCE_CHANGED}:
            return f"{self.variant} {self.status}: {self.message}\n  prove it again: {self.reproduce}"
        return f"{self.variant} {self.status} at gate {self.gate!r}: {self.message}\n  reproduce: {self.reproduce}"
