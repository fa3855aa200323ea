"""How the learning rate runs over a training run, and how gradients are clipped."""

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
        All updates, and those of the warm-up among them.
    final_fraction : float
        What is left of `peak` after the last update.
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
    """Return what the gradients are multiplied by so that their norm is at most `limit`."""
    return limit / norm if norm > limit else 1.0
