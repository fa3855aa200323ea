"""The statistics of a race, on synthetic samples with known means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.race.statistics import best_probability, paired_ratio, rank_text, ranks, settled, summarise

times = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60)


def drawn(seed, rounds, *means, noise=0.05, common=0.2):
    """Return one list of samples per mean, with noise of its own and noise that is common to a round."""
    rng = np.random.default_rng(seed)
    shared = np.exp(rng.normal(0, common, rounds))
    return [list(mean * shared * np.exp(rng.normal(0, noise, rounds))) for mean in means]


@given(times)
def test_summary_orders_its_quantiles_and_stays_within_the_samples(samples):
    found = summarise(samples)
    assert min(samples) == found.least <= found.q20 <= found.lower_quartile <= found.median <= found.q80 <= max(samples)
    assert found.count == len(samples)


def test_two_copies_tie():
    """At a level of 95 %, about one pair of copies in twenty does not tie."""
    apart = sum(not paired_ratio(*drawn(seed, 40, 1.0, 1.0)).tie for seed in range(200))
    assert apart <= 20


def test_planted_two_per_cent_are_found():
    found = [paired_ratio(*drawn(seed, 400, 1.02, 1.0)) for seed in range(50)]
    assert sum(interval.low > 1 for interval in found) >= 49
    assert np.median([interval.ratio for interval in found]) == pytest.approx(1.02, rel=3e-3)


def test_pairing_cancels_what_a_round_does_to_everybody():
    first, second = drawn(1, 60, 1.1, 1.0, noise=0.001, common=1.0)
    interval = paired_ratio(first, second)
    assert interval.low > 1.09
    assert interval.high < 1.11


@given(times, times)
def test_ratio_is_in_its_interval_and_turns_round(first, second):
    there, back = paired_ratio(first, second), paired_ratio(second, first)
    assert 0 < there.low <= there.ratio * (1 + 1e-9)
    assert there.ratio <= there.high * (1 + 1e-9)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert there.inverse.ratio == pytest.approx(back.ratio)


@given(times, st.floats(0.1, 10))
def test_exact_multiple_is_read_exactly(samples, factor):
    interval = paired_ratio([factor * s for s in samples], samples)
    assert interval.ratio == pytest.approx(factor)
    if len(samples) > 1:
        assert (interval.low, interval.high) == (pytest.approx(factor), pytest.approx(factor))


def test_few_rounds_widen_the_interval_and_one_is_trusted_to_a_factor_of_two():
    assert paired_ratio([1.5], [1.0]).tie
    assert not paired_ratio([2.5], [1.0]).tie
    few = paired_ratio([1.1, 1.2, 1.3], [1.0, 1.0, 1.0])
    assert few.low < 1.1
    assert few.high > 1.3


@given(st.integers(0, 1000), st.permutations([1.0, 1.5, 2.0, 3.0]))
def test_clear_ranking_is_found_in_any_order_of_entry(seed, means):
    samples = drawn(seed, 40, *means)
    order = sorted(means)
    assert ranks(samples) == [(order.index(m) + 1, order.index(m) + 1) for m in means]
    probabilities = best_probability(samples)
    assert probabilities[means.index(1.0)] == 1.0
    assert settled(samples)


def test_tie_shares_a_range_of_ranks_and_the_odds():
    samples = [*drawn(5, 60, 1.0, 1.0), [3.0] * 60]
    assert [rank_text(r) for r in ranks(samples)] == ["1–2", "1–2", "3"]  # noqa: RUF001 (a range is set with an en dash)
    probabilities = best_probability(samples)
    assert sum(probabilities) == pytest.approx(1)
    assert probabilities[2] == 0
    assert 0 < probabilities[0] < 1


def test_noisy_near_tie_is_not_settled_and_a_quiet_one_is():
    assert not settled(drawn(2, 12, 1.0, 1.005, noise=0.2))
    assert settled(drawn(2, 400, 1.0, 1.0, noise=0.005))
    assert settled([[1.0, 1.1]])


def test_nobody_is_ranked_in_an_empty_race():
    assert ranks([]) == []
    assert best_probability([]) == []
