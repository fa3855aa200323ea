"""Statistics of the samples of a race: quantiles, paired ratios with bootstrap intervals, ranks with ties, chances to be best.

A contestant has one sample per round, in the order of the rounds. Therefore the n-th samples of two contestants were measured
within a short time of each other, and their ratio does not contain a disturbance that slowed the whole round.

Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile intervals).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CLOSE", "Interval", "Summary", "best_probability", "paired_ratio", "rank_text", "ranks", "settled", "summarise"]

RESAMPLES = 1000
LEVEL = 0.95
STRICT_LEVEL = 0.99
FEW = 6
SEED = 0x5EED
CLOSE = 0.01


@dataclass(frozen=True)
class Summary:
    """Quantiles of one contestant's samples, in their unit."""

    median: float
    q20: float
    q80: float
    lower_quartile: float
    least: float
    count: int


@dataclass(frozen=True)
class Interval:
    """A ratio and its confidence interval."""

    ratio: float
    low: float
    high: float

    @property
    def tie(self) -> bool:
        """Whether the interval contains 1, so that the samples do not decide which of the two is faster."""
        return self.low <= 1 <= self.high

    @property
    def inverse(self) -> Interval:
        """The inverse ratio, with its interval."""
        return Interval(1 / self.ratio, 1 / self.high, 1 / self.low)


def summarise(samples: Sequence[float]) -> Summary:
    """Return the quantiles of `samples`, which must not be empty."""
    least, q20, lower, median, q80 = map(float, np.quantile(np.asarray(samples, np.float64), (0, 0.2, 0.25, 0.5, 0.8)))
    return Summary(median, q20, q80, lower, least, len(samples))


def paired_ratio(first: Sequence[float], second: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the time of `first` over the time of `second`: the median of the ratios over their common rounds.

    Fewer than six common rounds are too few for a bootstrap. The interval is then the range of the ratios, widened by its own
    width on both sides. With a single round, the interval reaches from half to twice the ratio.
    """
    rounds = min(len(first), len(second))
    logs = np.log(np.asarray(first[:rounds], np.float64)) - np.log(np.asarray(second[:rounds], np.float64))
    middle = float(np.median(logs))
    if rounds == 1:
        low, high = middle - np.log(2), middle + np.log(2)
    elif rounds < FEW:
        low, high = 2 * logs.min() - logs.max(), 2 * logs.max() - logs.min()
    else:
        picks = np.random.default_rng(SEED).integers(rounds, size=(RESAMPLES, rounds))
        medians = np.median(logs[picks], axis=1)
        low, high = np.quantile(medians, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(np.exp(middle)), float(np.exp(low)), float(np.exp(high)))


def ranks(samples: Sequence[Sequence[float]], level: float = LEVEL) -> list[tuple[int, int]]:
    """Return the best and the worst possible rank of each contestant; the two differ if it ties with others."""
    count = len(samples)
    faster, slower = [0] * count, [0] * count
    for i in range(count):
        for j in range(i + 1, count):
            interval = paired_ratio(samples[i], samples[j], level)
            if not interval.tie:
                ahead, behind = (i, j) if interval.high < 1 else (j, i)
                slower[ahead] += 1
                faster[behind] += 1
    return [(1 + faster[i], count - slower[i]) for i in range(count)]


def rank_text(rank: tuple[int, int]) -> str:
    """Return a rank as a board shows it: ``2``, or a range for a tie."""
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"  # noqa: RUF001 (a range is set with an en dash)


def best_probability(samples: Sequence[Sequence[float]]) -> list[float]:
    """Return, for each contestant, the share of bootstrap resamples in which its median is the lowest."""
    if not samples:
        return []
    generator = np.random.default_rng(SEED)
    longest = max(map(len, samples))
    shared = generator.integers(longest, size=(RESAMPLES, longest))
    medians = []
    for own in samples:
        full = len(own) == longest
        picks = shared if full else generator.integers(len(own), size=(RESAMPLES, len(own)))
        medians.append(np.median(np.asarray(own, np.float64)[picks], axis=1))
    winners = np.argmin(np.stack(medians), axis=0)
    return [float(np.mean(winners == i)) for i in range(len(samples))]


def settled(samples: Sequence[Sequence[float]]) -> bool:
    """Whether more rounds are unnecessary: each pair of adjacent contestants is decided, or equal to one per cent."""
    order = sorted(samples, key=lambda own: float(np.median(own)))
    for first, second in pairwise(order):
        interval = paired_ratio(second, first, STRICT_LEVEL)
        if interval.tie and not 1 - CLOSE < interval.low <= interval.high < 1 + CLOSE:
            return False
    return True
