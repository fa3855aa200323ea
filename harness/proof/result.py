"""The outcome of a proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.proof.reference.fakes import Tally

if TYPE_CHECKING:
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["SOURCE_CHANGED", "Proof"]

SOURCE_CHANGED = "source_changed"


@dataclass
class Proof:
    """What became of a variant.

    Attributes
    ----------
    status : str
        ``passed``, ``failed``, ``crashed``, ``hung``, ``refused``, or what the simulator found; ``partial`` if it failed
        nothing and was asked too little; ``source_changed`` if a source was written meanwhile, so that nothing is known.
    gate, message : str
        Where and why it was rejected.
    problems : int
        Problems that it passed and that could have told it from null kernels.
    vacuous, refused : int
        Problems that could not (empty arrays), and problems that it does not support.
    drawn : int
        Problems that were drawn and that it does support.
    source, contract : str
        Hashes of its sources and of its op's contract, as they were proven.
    recheck : tuple of Problem
        Problems that it failed at before, and passed now.
    """

    variant: Variant
    status: str = "passed"
    gate: str = ""
    message: str = ""
    problem: Problem | None = None
    problems: int = 0
    vacuous: int = 0
    refused: int = 0
    drawn: int = 0
    worst_over_budget: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    tally: Tally = field(default_factory=Tally)
    source: str = ""
    contract: str = ""
    recheck: tuple[Problem, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return self.status == "passed"

    @property
    def unharmed(self) -> bool:
        """Whether nothing failed, however little was asked."""
        return self.status in {"passed", "partial"}

    def __str__(self) -> str:
        if self.passed:
            return f"{self.variant} passed {self.problems} problems, worst error {self.worst_over_budget:.2g} of its budget"
        if self.status in {"partial", SOURCE_CHANGED}:
            return f"{self.variant} {self.status}: {self.message}\n  prove it again: {self.reproduce}"
        return f"{self.variant} {self.status} at gate {self.gate!r}: {self.message}\n  reproduce: {self.reproduce}"
