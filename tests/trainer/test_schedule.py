"""The learning rate warms up, falls along a cosine, and never leaves its bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.schedule import Schedule, clip_scale


@given(
    steps=st.integers(1, 200),
    warmup=st.integers(0, 50),
    final=st.floats(0, 1),
)
def test_the_rate_stays_between_its_end_and_its_peak_after_the_warm_up(steps, warmup, final):
    schedule = Schedule(1.0, steps, warmup, final)
    rates = [schedule(step) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates[:warmup])
    assert all(final - 1e-12 <= rate <= 1 for rate in rates[warmup:])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_the_first_update_of_a_warm_up_is_not_lost():
    schedule = Schedule(8e-4, steps=10, warmup=4)
    assert [schedule(i) for i in range(4)] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4])


def test_half_way_through_the_decay_half_is_left():
    assert Schedule(1.0, steps=12, warmup=2, final_fraction=0.2)(7) == pytest.approx(0.6)


def test_after_the_last_update_the_final_fraction_is_left():
    assert Schedule(2.0, steps=5, final_fraction=0.1)(5) == pytest.approx(0.2)
    assert Schedule(2.0, steps=5, final_fraction=0.1)(500) == pytest.approx(0.2)


@given(norm=st.floats(1e-6, 1e6), limit=st.floats(1e-3, 1e3))
def test_clipping_never_lets_a_norm_beyond_the_limit_and_never_raises_one(norm, limit):
    scaled = norm * clip_scale(norm, limit)
    assert scaled <= limit * (1 + 1e-12)
    np.testing.assert_allclose(scaled, min(norm, limit))
