"""The controls notice a busy machine on every thread of the race, and then nothing is stored."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness import bench
from harness.race import controls, quiet
from harness.race.controls import ControlsError, check_controls, check_quiet, is_quiet
from harness.race.session import Session
from registry.fingerprint import contract_hash, source_hash
from registry.machine import thread_count
from registry.records import Evidence, Store
from registry.table import discover

SPINNING = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"
VARIANT = discover().variant("residual", "numba_flat")
GOOD = {"a_a": 1.0, "twice": 2.0, "floor_us": 0.1}


@pytest.fixture
def neighbour():
    """Keep one core of this process busy with another process."""
    core = max(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, "-c", SPINNING, str(core)], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield core
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(controls, "WAIT_S", 0.0)


def session_with(*shares, place="cpu", protocol="cpu-warm"):
    """Return a session whose threads get these shares of a core, one share per measurement; the last share repeats."""
    left, asked = list(shares), []

    def ask(do, **message):
        asked.append((do, message))
        return {"core_share": left.pop(0) if len(left) > 1 else left[0]}

    return SimpleNamespace(process=lambda _: SimpleNamespace(ask=ask), threads=2, place=place, protocol=protocol, asked=asked)


@pytest.mark.usefixtures("neighbour")
def test_a_neighbour_on_one_core_is_noticed_when_all_cores_are_used():
    """The fixture starts a real process: a thread on the same core gets about half of the core."""
    assert quiet.core_share(thread_count()) < controls.BANDS[controls.SHARE][0]


@pytest.mark.usefixtures("neighbour")
def test_a_contestant_measures_the_share_on_as_many_threads_as_the_race_has():
    with Session(thread_count(), "cpu-warm") as session:
        assert not is_quiet(session)
        with pytest.raises(ControlsError, match=r"the machine is busy: a thread got \d+% of a core while \d+ computed"):
            check_quiet(session)


def test_controls_on_a_busy_machine_fail_and_name_the_load(monkeypatch):
    monkeypatch.setattr(controls, "_measure", lambda *_: pytest.fail("nothing is raced on a busy machine"))
    busy = session_with(0.52)
    with pytest.raises(ControlsError) as raised:
        check_controls(busy, [VARIANT], lambda *_: None)
    reason = str(raised.value)
    assert "the machine is busy: a thread got 52% of a core while 2 computed at the same time, at least 90% is needed" in reason
    assert "other processes keep" in reason
    assert f"of {thread_count()} cores busy, load average" in reason
    assert busy.asked == [("quiet", {"threads": 2})] * controls.ATTEMPTS


def test_controls_pass_once_the_machine_is_quiet_and_keep_the_share(monkeypatch):
    monkeypatch.setattr(controls, "_measure", lambda *_: dict(GOOD))
    calm = session_with(0.4, 0.98)
    check_controls(calm, [VARIANT], lambda *_: None)
    assert calm.controls == {**GOOD, "core_share": 0.98}


def test_controls_that_read_wrong_name_the_load_too(monkeypatch):
    monkeypatch.setattr(controls, "_measure", lambda *_: {**GOOD, "twice": 3.0})
    with pytest.raises(ControlsError, match=r"twice reads 3\.000, allowed \(1\.8, 2\.2\); the machine may be busy \(other"):
        check_controls(session_with(0.99), [VARIANT], lambda *_: None)


def test_on_a_gpu_the_cores_of_the_cpu_do_not_matter(monkeypatch):
    monkeypatch.setattr(controls, "_measure", lambda *_: dict(GOOD))
    gpu = session_with(0.1, place="cuda", protocol="cuda-cold")
    check_controls(gpu, [VARIANT], lambda *_: None)
    check_quiet(gpu)
    assert is_quiet(gpu)
    assert (gpu.controls, gpu.asked) == (GOOD, [])


def test_a_machine_that_gets_busy_during_the_race_leaves_no_record(tmp_path, capsys, monkeypatch):
    about = {"op": "residual", "variant": VARIANT.name, "source": source_hash(VARIANT), "contract": contract_hash(VARIANT.op)}
    Store(tmp_path).add_evidence(Evidence(**about, status="passed", problems=40))
    monkeypatch.setattr(bench, "check_controls", lambda session, *_: session.controls.update(GOOD))
    monkeypatch.setattr(Session, "measure_roofline", lambda _: None)
    monkeypatch.setattr(controls, "_share", lambda _: 0.5)
    words = ["--op", "residua[l]", "--variant", VARIANT.name, "--dims", "N=8 C=12", "--budget", "1s"]
    assert bench.main([*words, "--results", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert (
        "error: the race of residual at N=8,C=12 was not stored: the machine is busy: a thread got 50% of a core" in shown.err
    )
    assert shown.out == ""
    assert Store(tmp_path).runs() == []
