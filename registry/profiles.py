"""Profiles: the number of problems that a proof draws, and the least number that makes a proof whole."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROFILES", "Profile", "fewest_problems"]


@dataclass(frozen=True)
class Profile:
    """The settings of a proof.

    Attributes
    ----------
    examples : int
        Problems that hypothesis draws. The fixed problems are added to them.
    shrink_seconds : float
        Seconds for which a failing problem is made smaller.
    derandomised : bool
        Draw the same problems in every proof.
    """

    examples: int
    shrink_seconds: float
    derandomised: bool = False

    @property
    def fewest_problems(self) -> int:
        """The least number of problems, fixed and drawn, that makes a proof whole: three quarters of the drawn problems.

        One drawn problem in eight may have empty arrays and does not count. The fixed problems (at least a dozen for every
        op) do count. A variant that accepts the whole domain of its op therefore always reaches this number.
        """
        return self.examples * 3 // 4

    @property
    def fewest_drawn(self) -> int:
        """The least number of drawn problems that a variant must accept: a quarter, as the trainer's quick proofs draw.

        The author of a variant knows the fixed problems, so that the fixed problems alone prove little.
        """
        return self.examples // 4


PROFILES = {"dev": Profile(24, 5.0), "ci": Profile(60, 10.0, derandomised=True), "deep": Profile(1000, 60.0)}


def fewest_problems(profile: str) -> int:
    """Return the least number of problems that makes a proof whole. An unknown profile counts as ``dev``."""
    return PROFILES.get(profile, PROFILES["dev"]).fewest_problems
