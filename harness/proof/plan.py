"""The settings of a proof: profile, seed, threads, device and folders; and the command that reproduces its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import hypothesis

from registry.commands import Folders, pasted
from registry.devices import kind_of
from registry.enums import Device
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
    """Register the profiles with hypothesis, so that other property tests can run under them too."""
    for name, profile in PROFILES.items():
        hypothesis.settings.register_profile(
            name, max_examples=profile.examples, derandomize=profile.derandomised, deadline=None, print_blob=False
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a proof.

    Attributes
    ----------
    examples : int, optional
        The number of random cases; by default the profile's number.
    seed : int
        The seed of hypothesis; a derandomised profile ignores it.
    gpu : bool
        Run CUDA variants on a GPU instead of in the simulator.
    results : Path
        The folder of records.
    sources : Snapshot, optional
        The source files as they were before this process imported them and before the workers were made.
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
    def profile_settings(self) -> Profile:
        """The settings of the profile."""
        return PROFILES[self.profile]

    def reproduce(self, variant: Variant, problem: Problem | None = None) -> str:
        """Return the command that reproduces a result: a whole proof, or the check of one problem."""
        words = ["--op", variant.op.name, "--variant", variant.name, *Folders(self.kernels_path).words()]
        if variant.device != Device.CPU:
            words += ["--device", kind_of(variant, gpu=self.gpu)]
        if problem is None:
            return pasted("harness.verify", *words, "--profile", self.profile, folders=Folders(results=self.results))
        return pasted("harness.verify", *words, "--problem", str(problem))
