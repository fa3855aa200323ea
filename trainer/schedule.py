"""The learning rate of each update, and the clipping of gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Schedule", "clip_scale"]


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then half a cosine down to a fraction of the peak.

    Attributes
    ----------
    peak : float
        The highest learning rate.
    steps, warmup : int
        Number of updates, and the number of warm-up updates among them.
    final_fraction : float
        Learning rate at the end, as a fraction of `peak`.
    """

    peak: float
    steps: int
    warmup: int = 0
    final_fraction: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the learning rate of update number `step`, the first of which is 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        final = self.peak * self.final_fraction
        return final + (self.peak - final) * (1 + math.cos(math.pi * done)) / 2


def clip_scale(norm: float, limit: float) -> float:
    """Return the factor that scales gradients of the given norm to a norm of at most `limit`."""
    return limit / norm if norm > limit else 1.0
