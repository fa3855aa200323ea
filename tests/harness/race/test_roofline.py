"""The roofline: a floor that no honest call can beat."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.race import roofline
from registry.devices import set_threads

ROOF = {"gflops": 100.0, "gb_s@1000": 50.0, "gb_s@100000": 80.0, "gb_s@1000000": 10.0}
sizes = st.floats(0, 1e9)


def test_bandwidth_never_rises_with_size():
    assert roofline.bandwidth_sizes(ROOF) == [(1000, 80.0), (100000, 80.0), (1000000, 10.0)]


def test_bytes_are_charged_at_the_best_bandwidth_of_their_size():
    assert roofline.floor_ms(ROOF, 0, 80_000) == pytest.approx(80_000 / 80 / 1e6)
    assert roofline.floor_ms(ROOF, 0, 2_000_000) == pytest.approx((1_000_000 / 80 + 1_000_000 / 10) / 1e6)
    assert roofline.floor_ms(ROOF, 1e9, 80_000) == pytest.approx(10.0)
    assert roofline.floor_ms(ROOF, 0, 0) == 0


@given(sizes, sizes, st.floats(0, 1e12))
def test_floor_grows_with_bytes_and_with_operations(one, other, flops):
    low, high = sorted((one, other))
    assert roofline.floor_ms(ROOF, flops, low) <= roofline.floor_ms(ROOF, flops, high)
    assert roofline.floor_ms(ROOF, flops, low) >= roofline.floor_ms(ROOF, 0, low)


def test_merging_keeps_the_best_and_what_one_alone_has():
    merged = roofline.merged({"gflops": 1.0, "gb_s@10": 5.0}, {"gflops": 2.0, "gb_s@10": 3.0})
    assert merged == {"gflops": 2.0, "gb_s@10": 5.0}


def test_measured_peaks_cover_every_size_and_stand_above_what_numpy_reaches(monkeypatch):
    """A multiply-add loop in registers cannot lose to numpy's sum of products in memory."""
    monkeypatch.setattr(roofline, "SIZES", (1 << 16, 1 << 20))
    monkeypatch.setattr(roofline, "SPAN_NS", 1e5)
    set_threads(1)
    found = roofline.measure(1)
    assert set(found) == {"gflops", "gb_s@65536", "gb_s@1048576"}
    assert all(np.isfinite(value) and value > 0 for value in found.values())
