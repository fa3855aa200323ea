"""How long each part of one command took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil

__all__ = ["Stopwatch", "process_start"]


def process_start() -> float:
    """Return when this process was started, on the clock of `time.monotonic`."""
    return time.monotonic() - max(time.time() - psutil.Process().create_time(), 0.0)


@dataclass
class Stopwatch:
    """The seconds of each part of a command, in order.

    Attributes
    ----------
    started : float
        When the command began, on the clock of `time.monotonic`.
    """

    started: float = field(default_factory=time.monotonic)
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self.started

    def lap(self, part: str, other: str = "", other_s: float = 0.0) -> None:
        """Count the seconds since the last call to `part`, but for `other_s` of them, which count to `other`."""
        seconds = self.total_s - sum(self.parts.values())
        self.parts[part] = self.parts.get(part, 0.0) + seconds - other_s
        if other:
            self.parts[other] = self.parts.get(other, 0.0) + other_s

    def report(self, budget_s: float) -> str:
        """Return one line: the whole time, beside the budget, and its parts."""
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.parts.items())
        return f"took {self.total_s:.1f} s of a budget of {budget_s:g} s: {parts}"
