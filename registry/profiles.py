"""Profiles: how many problems a proof draws, and how few of them still prove something."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROFILES", "Profile", "fewest_problems"]


@dataclass(frozen=True)
class Profile:
    """How much is drawn.

    Attributes
    ----------
    examples : int
        Problems drawn by hypothesis; the basic ones come on top.
    shrink_seconds : float
        How long a failure is made smaller.
    derandomised : bool
        Draw the same problems every time.
    """

    examples: int
    shrink_seconds: float
    derandomised: bool = False

    @property
    def fewest_problems(self) -> int:
        """The fewest problems, fixed and drawn ones together, with which a proof is whole.

        Three quarters of the drawn ones: of these one in eight may have empty arrays and count for nothing, and the fixed ones
        (at least a dozen for every op) come on top. A variant that takes the whole domain of its op always reaches it.
        """
        return self.examples * 3 // 4

    @property
    def fewest_drawn(self) -> int:
        """The fewest drawn problems that the variant must take: a quarter, which the trainer's quick proofs draw.

        The fixed problems are known to whoever writes a variant, so that they alone prove little.
        """
        return self.examples // 4


PROFILES = {"dev": Profile(24, 5.0), "ci": Profile(60, 10.0, derandomised=True), "deep": Profile(1000, 60.0)}


def fewest_problems(profile: str) -> int:
    """Return the fewest problems with which a proof under a profile is whole; of an unknown profile, those of ``dev``."""
    return PROFILES.get(profile, PROFILES["dev"]).fewest_problems
