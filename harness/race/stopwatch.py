"""The seconds that each part of one command takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil

__all__ = ["Stopwatch", "process_start"]


def process_start() -> float:
    """Return the start time of this process, on the clock of `time.monotonic`."""
    return time.monotonic() - max(time.time() - psutil.Process().create_time(), 0.0)


@dataclass
class Stopwatch:
    """The seconds of each part of a command, in order.

    Attributes
    ----------
    started : float
        The start time of the command, on the clock of `time.monotonic`.
    """

    started: float = field(default_factory=time.monotonic)
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self.started

    def lap(self, part: str, other: str = "", other_s: float = 0.0) -> None:
        """Add the seconds since the last call to `part`, except `other_s` seconds, which are added to `other`."""
        seconds = self.total_s - sum(self.parts.values())
        self.parts[part] = self.parts.get(part, 0.0) + seconds - other_s
        if other:
            self.parts[other] = self.parts.get(other, 0.0) + other_s

    def report(self, budget_s: float) -> str:
        """Return one line: the total time, the time budget, and the time of each part."""
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.parts.items())
        return f"took {self.total_s:.1f} s of a time budget of {budget_s:g} s: {parts}"
