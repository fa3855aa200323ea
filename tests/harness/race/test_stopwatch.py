"""The stopwatch of a command: every second belongs to a part, and the parts add up to the total."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.race import stopwatch
from harness.race.stopwatch import Stopwatch, process_start


@given(st.lists(st.tuples(st.sampled_from(["start", "races"]), st.floats(0, 9), st.floats(0, 1)), min_size=1, max_size=6))
def test_the_parts_are_the_whole(laps):
    now = 100.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopwatch.time, "monotonic", lambda: now)
        watch = Stopwatch(started=98.0)
        for part, seconds, share in laps:
            now += seconds
            watch.lap(part, "compiling", share * seconds)
        assert sum(watch.parts.values()) == pytest.approx(watch.total_s) == pytest.approx(now - 98.0)
        assert all(seconds >= -1e-9 for seconds in watch.parts.values())


def test_the_report_is_one_line_beside_the_budget(monkeypatch):
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: 63.25)
    watch = Stopwatch(started=0.0, parts={"start": 3.0, "races": 60.25})
    assert watch.report(60) == "took 63.2 s of a time budget of 60 s: start 3.0 s, races 60.2 s"


def test_a_process_started_before_now():
    assert process_start() <= time.monotonic()
