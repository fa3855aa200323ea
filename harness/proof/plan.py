"""What a proof draws, on how many threads, and the command that shows its result again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import hypothesis

from registry.commands import Folders, pasted
from registry.devices import kind_of
from registry.errors import UnknownNameError
from registry.machine import thread_count
from registry.paths import RESULTS
from registry.profiles import PROFILES, Profile

if TYPE_CHECKING:
    from pathlib import Path

    from registry.fingerprint import Snapshot
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["Plan", "register_profiles"]


def register_profiles() -> None:
    """Make the profiles known to hypothesis, so that every other property test runs under them too."""
    for name, profile in PROFILES.items():
        hypothesis.settings.register_profile(
            name, max_examples=profile.examples, derandomize=profile.derandomised, deadline=None, print_blob=False
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to draw, on how many threads, and how to write the reproducing line.

    Attributes
    ----------
    examples : int, optional
        Instead of the profile's number.
    seed : int
        Of hypothesis; used unless the profile is derandomised.
    gpu : bool
        Run CUDA variants on a GPU, not in the simulator.
    results : Path
        The folder of records.
    sources : Snapshot, optional
        The source files before this process imported them, if that was before the workers were made.
    """

    profile: str = "dev"
    examples: int | None = None
    seed: int = 0
    threads: int = field(default_factory=thread_count)
    gpu: bool = False
    kernels_path: tuple[Path, ...] = ()
    results: Path = RESULTS
    sources: Snapshot | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise UnknownNameError("profile", self.profile, PROFILES)

    @property
    def limits(self) -> Profile:
        """The profile's numbers."""
        return PROFILES[self.profile]

    def reproduce(self, variant: Variant, problem: Problem | None = None) -> str:
        """Return the command that shows a result again."""
        words = ["--op", variant.op.name, "--variant", variant.name, *Folders(self.kernels_path).words()]
        if variant.device != "host":
            words += ["--device", kind_of(variant, gpu=self.gpu)]
        if problem is None:
            return pasted("harness.verify", *words, "--profile", self.profile, folders=Folders(results=self.results))
        return pasted("harness.verify", *words, "--problem", str(problem))
