"""``python -m benchmarks.step`` compares arms that do equal work, reports its measurements, and ends all its processes."""

import json
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from benchmarks import step
from benchmarks.step_record import FILE, StepRun
from registry.machine import machine_key, thread_count
from registry.paths import ROOT
from registry.record_schema import SCHEMA
from tests.house.document_check import document_of

COMMAND = [sys.executable, "-m", "benchmarks.step"]
SMALL = ["--model", "gpt2-nano", "--batch", "1", "--sequence", "8", "--kernels", "numpy"]
ROUNDS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run of Crucible's references against torch eager, and the folder of its records."""
    results = tmp_path_factory.mktemp("results")
    words = [*SMALL, "--arms", "crucible,torch", "--rounds", str(ROUNDS), "--first-step", "--json", "--results", str(results)]
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done, results


def planted(fault, monkeypatch, capsys, *words):
    """Run a correct and a faulty arm; return the exit code and the output."""
    monkeypatch.setattr("benchmarks.arm_process.MODULE", "tests.benchmarks.planted_arm")
    monkeypatch.setattr(step, "left_out", lambda *_: {})
    monkeypatch.setenv("PLANT", fault)
    code = step.main([*SMALL, "--arms", "torch,torch-compile", "--rounds", "1", "--json", *words])
    return code, capsys.readouterr()


def test_json_is_one_document_with_all_measurements(run):
    document = json.loads(run[0].stdout)
    assert document_of(run[0].stdout, "benchmarks.step", 0)
    assert (document["model"], document["batch"], document["sequence"]) == ("gpt2-nano", 1, 8)
    assert (document["threads"], document["rounds"], document["dtype"]) == (thread_count(), ROUNDS, "float32")
    assert document["machine"] == machine_key()
    assert {"python", "numpy", "numba", "torch"} <= set(document["versions"])
    assert set(document["kernels"].values()) == {"numpy"}
    assert [arm["arm"] for arm in document["arms"]] == ["crucible", "torch"]
    for arm in document["arms"]:
        assert len(arm["ms"]) == ROUNDS
        assert len(arm["losses"]) == ROUNDS + step.WARM_UPS
        assert 0 < min(arm["ms"]) <= arm["lower_quartile"] <= arm["median"] <= arm["upper_quartile"] <= max(arm["ms"])
        assert arm["peak_rss"] > 100
        assert set(arm["first_step"]) == {"cold", "warm"}
        assert min(arm["first_step"].values()) > 0


def test_ratios_are_the_arms_times_over_crucibles(run):
    document = json.loads(run[0].stdout)
    (ratio,), (ours, theirs) = document["ratios"], document["arms"]
    ratios = [other / own for other, own in zip(theirs["ms"], ours["ms"], strict=True)]
    low, high = ratio["interval"]
    assert ratio["arm"] == "torch"
    assert low <= min(ratios) <= ratio["time"] <= max(ratios) <= high
    assert ratio["memory"] == pytest.approx(ours["peak_rss"] / theirs["peak_rss"])


def test_the_document_is_kept_as_a_record_that_can_be_read_again(run):
    done, results = run
    (line,) = (results / machine_key() / FILE).read_text().splitlines()
    record = json.loads(line)
    assert record == {**document_of(done.stdout, "benchmarks.step", 0), "schema": SCHEMA}
    assert StepRun.from_json(record).to_json() == record


def test_progress_is_printed_on_standard_error(run):
    printed = run[0].stderr
    assert [f"round {n} of {ROUNDS}: crucible" in printed for n in (1, ROUNDS)] == [True, True]


@pytest.mark.parametrize("fault", ["no_update", "padded", "other_weights", "other_batches"])
def test_an_arm_that_does_other_work_is_an_error_and_no_ratio_is_printed(fault, monkeypatch, capsys, tmp_path):
    code, printed = planted(fault, monkeypatch, capsys, "--results", str(tmp_path))
    assert code == 1
    assert list(document_of(printed.out, "benchmarks.step", code)) == ["error"]
    assert "torch and torch-compile do not do the same work" in printed.err or "torch-compile and torch do not" in printed.err
    assert not list(tmp_path.rglob(FILE))


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("not_a_number", "error: step 1: the loss of arm torch-compile is nan; nothing was compared"),
        ("flushed", "error: arm torch-compile runs with flushes_subnormals True where all arms are to have False"),
        ("more_threads", f"error: arm torch-compile runs with threads [{thread_count() + 1}] where all arms are to have"),
        ("raising", "error: arm torch-compile failed: ValueError: first line second line"),
        ("killed", "error: arm torch-compile was ended by SIGKILL; this machine may have too little memory"),
    ],
)
def test_an_arm_that_fails_is_named_in_one_line(fault, line, monkeypatch, capsys):
    code, printed = planted(fault, monkeypatch, capsys, "--no-store")
    assert code == 1
    assert list(document_of(printed.out, "benchmarks.step", code)) == ["error"]
    (last,) = [text for text in printed.err.splitlines() if text.strip()]
    assert last.startswith(line)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--arms", "crucible,torch-compiled"], "unknown arm 'torch-compiled'; did you mean 'torch-compile'?"),
        (["--arms", " , "], "names no arm; known: crucible, torch,"),
        (["--model", "gpt2-123m"], "unknown model 'gpt2-123m'; did you mean 'gpt2-124m'?"),
        (["--rounds", "0"], "--rounds 0: give a whole number from 1 up"),
        (["--sequence", "100000"], "--sequence 100000: gpt2-124m has a context of 1024 tokens"),
        (["--threads", "100000"], "--threads 100000: this process may use 1 to"),
        (["--batch", "100000"], "take a smaller --batch or --sequence"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line_before_a_process_starts(words, line, monkeypatch, capsys):
    monkeypatch.setattr(step, "ArmProcess", lambda *_: pytest.fail("a process was started"))
    assert step.main(words) == 2
    printed = capsys.readouterr()
    assert line in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_without_torch_the_arms_that_need_it_are_named(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.arms.importlib.util.find_spec", lambda _: None)
    assert step.main(["--arms", "crucible,torch"]) == 2
    assert "torch is not installed, and these arms need it: torch;" in capsys.readouterr().err


def test_an_interrupt_ends_every_process():
    words = [*SMALL, "--arms", "torch", "--rounds", "1000000", "--no-store"]
    with subprocess.Popen([*COMMAND, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "round 1 of" in line:
                break
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130
    assert rest.splitlines()[-1] == "interrupted; nothing more was written"
    assert started
    assert psutil.wait_procs(started, timeout=60)[1] == []


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_torch_compile_does_the_same_work_and_is_named_strongest_by_a_table(tmp_path):
    """Run the C++ compiler. The test took 78 s on two cores that about twelve processes shared."""
    words = [*SMALL, "--arms", "crucible,torch-compile", "--rounds", "1", "--results", str(tmp_path)]
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "strongest arm of torch: torch-compile, whose step takes" in done.stdout
