"""The roofline: no honest call is faster, and a measurement on a busy machine does not lower its peaks."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.race import roofline
from harness.race import session as module
from harness.race.session import Session
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
    """The measured peaks are positive and finite, for multiply-adds and for each size."""
    monkeypatch.setattr(roofline, "SIZES", (1 << 16, 1 << 20))
    monkeypatch.setattr(roofline, "SPAN_NS", 1e5)
    set_threads(1)
    found = roofline.measure(1)
    assert set(found) == {"gflops", "gb_s@65536", "gb_s@1048576"}
    assert all(np.isfinite(value) and value > 0 for value in found.values())


def peaks(share):
    """Return the peaks that are measured if other processes leave this share of the machine."""
    return {"gflops": 100.0 * share, "gb_s@1000": 50.0 * share}


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Return a function that creates a session with invented measurements of the roofline and of quietness."""
    monkeypatch.setattr(module, "ROOFLINES", tmp_path)

    def made(*measured, quiet=(), recorded=()):
        answers, moods = iter(measured), iter(quiet)
        asked = Session(2, "cpu-warm", recorded=recorded)
        asked.processes = [SimpleNamespace(ask=lambda *_, **__: next(answers))]
        monkeypatch.setattr(module, "is_quiet", lambda _: next(moods, True))
        return asked

    return made


def kept(folder):
    """Return the share of the peaks that is stored for the day."""
    [file] = folder.iterdir()
    [roof] = json.loads(file.read_text()).values()
    return roof["gflops"] / 100


def test_a_roofline_is_measured_once_a_day(session, tmp_path):
    for _ in range(2):
        quiet = session(peaks(1.0))
        quiet.measure_roofline()
        assert quiet.roof == peaks(1.0)
    assert kept(tmp_path) == 1.0


def test_a_roofline_below_half_of_the_best_on_record_is_measured_again(session, tmp_path):
    disturbed = session(peaks(0.3), peaks(0.9), recorded=[peaks(1.0)])
    disturbed.measure_roofline()
    assert disturbed.roof == peaks(0.9)
    assert kept(tmp_path) == 0.9


def test_a_roofline_that_stays_low_is_replaced_by_the_best_on_record(session, tmp_path):
    disturbed = session(*[peaks(0.3)] * module.ROOFLINE_ATTEMPTS, recorded=[peaks(0.8), peaks(1.0)])
    disturbed.measure_roofline()
    assert disturbed.roof == peaks(1.0)
    assert kept(tmp_path) == 1.0


def test_a_low_roofline_of_this_morning_does_not_stay_for_the_day(session, tmp_path):
    session(peaks(0.3)).measure_roofline()
    assert kept(tmp_path) == pytest.approx(0.3)
    later = session(peaks(1.0), recorded=[peaks(0.9)])
    later.measure_roofline()
    assert later.roof == peaks(1.0)
    assert kept(tmp_path) == 1.0


def test_a_roofline_that_was_measured_on_a_busy_machine_is_not_kept(session, tmp_path):
    busy = session(peaks(0.6), quiet=[False], recorded=[peaks(1.0)])
    busy.measure_roofline()
    assert busy.roof == peaks(1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_time_that_beats_the_roofline_is_compared_with_the_best_on_record(session):
    """A time that today's peaks exclude is accepted if earlier peaks allow it."""
    doubted = session(peaks(0.6), peaks(0.6), recorded=[peaks(1.0)])
    doubted.measure_roofline()
    assert doubted.roof == peaks(0.6)
    doubted.measure_roofline(again=True)
    assert doubted.roof == peaks(1.0)


@given(st.lists(st.floats(0.01, 10), max_size=4), st.floats(0.01, 10))
def test_plausible_is_half_of_the_best_and_more(earlier, share):
    assert roofline.is_plausible(peaks(share), list(map(peaks, earlier))) == all(
        roofline.LEAST_OF_BEST * value <= peaks(share)[name] for e in earlier for name, value in peaks(e).items()
    )
