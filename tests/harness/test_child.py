"""Processes: their owner gets a reply, a failure or the way they ended, and they never outlive their owner."""

import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest

from harness.child import PACKET, Child, CommandFailed, Ended, Hung, Stopped
from registry.paths import ROOT

MODULE = "tests.harness.child_program"


@pytest.fixture(scope="module")
def child():
    """Return a process with which the owner exchanges JSON."""
    with Child(MODULE, ["json"]) as process:
        yield process


@pytest.mark.parametrize("size", [0, 1, PACKET - 100, PACKET, 3 * PACKET + 1])
def test_a_message_of_any_size_comes_back(child, size):
    text = ("abc" * size)[:size]
    assert child.ask("echo", value=text) == text


def test_large_arrays_come_back_bit_by_bit():
    values = np.random.default_rng(0).standard_normal((3000, 1000))
    with Child(MODULE, ["pickle"], encoding=pickle) as process:
        np.testing.assert_array_equal(process.ask("echo", 60.0, value=values), values)


def test_a_reply_in_pieces_is_put_together(child):
    assert child.ask("in_pieces", value="whole") == "whole"
    with pytest.raises(Ended, match=r"^ended with exit code 7$"):
        child.ask("echo", value=1)


def test_a_command_that_raises_is_one_line_and_the_process_goes_on(child):
    child.ask("echo", value=1)
    pid = child.process.pid
    with pytest.raises(CommandFailed, match=r"^ValueError: first line second line$"):
        child.ask("fails")
    with pytest.raises(CommandFailed, match="no_such_command"):
        child.ask("no_such_command")
    assert (child.ask("echo", value=2), child.process.pid) == (2, pid)


def test_printed_text_never_reaches_the_owner_as_a_reply_and_standard_input_is_empty(tmp_path):
    with (tmp_path / "printed").open("w+b") as printed:
        with Child(MODULE, ["json"], output=printed) as process:
            assert process.ask("prints") == ""
            assert process.ask("echo", value=1) == 1
        printed.seek(0)
        assert printed.read() == b"printed at its start\nprinted\nwritten\n"


@pytest.mark.parametrize(("code", "end"), [(0, "ended with exit code 0"), (3, "ended with exit code 3")])
def test_a_process_that_exits_is_described_and_started_again(child, code, end):
    with pytest.raises(Ended, match=f"^{end}$") as caught:
        child.ask("leaves", status=code)
    assert caught.value.code == code
    assert child.ask("echo", value=1) == 1


def test_a_process_that_a_signal_ended_is_described_by_the_name_of_the_signal(child):
    child.ask("echo", value=1)
    os.kill(child.process.pid, signal.SIGSEGV)
    with pytest.raises(Ended, match=r"^was ended by SIGSEGV$") as caught:
        child.ask("echo", value=1)
    assert caught.value.code == -signal.SIGSEGV
    assert child.ask("echo", value=1) == 1


@pytest.mark.parametrize("command", ["hangs", "half"])
def test_a_process_that_sends_no_whole_reply_in_time_is_ended(child, command):
    child.ask("echo", value=1)
    process = psutil.Process(child.process.pid)
    with pytest.raises(Hung, match=r"^sent no reply within 0.05 s$"):
        child.ask(command, 0.05)
    assert not process.is_running()
    assert child.ask("echo", value=1) == 1


def test_a_process_that_does_not_read_a_large_message_in_time_is_ended(child):
    child.ask("echo", value=1)
    os.kill(child.process.pid, signal.SIGSTOP)
    with pytest.raises(Hung, match=r"^read no command within 0.05 s$"):
        child.ask("echo", 0.05, value="a" * (1 << 24))
    assert child.ask("echo", value=1) == 1


@pytest.mark.parametrize("text", ["not JSON", '{"error": ""}', '["", "result", 1]', '["0123456789abcdef", "result", 1]', "5"])
def test_a_message_that_is_no_reply_to_the_request_ends_the_process(child, text):
    with pytest.raises(Ended, match=r"^sent a message that is no reply$"):
        child.ask("forges", packet=f".{text}")
    assert child.ask("echo", value=1) == 1


def test_the_processes_that_a_process_started_end_with_it():
    with Child(MODULE, ["json"]) as process:
        started = psutil.Process(process.ask("starts"))
    assert psutil.wait_procs([started], timeout=60)[1] == []


def test_a_thread_that_waits_is_woken_when_another_thread_stops_the_process():
    outcomes = []

    def wait():
        try:
            process.ask("hangs")
        except Stopped:
            outcomes.append("stopped")

    with Child(MODULE, ["json"]) as process:
        process.ask("echo", value=1)
        waiting = threading.Thread(target=wait)
        waiting.start()
        process.stop()
        waiting.join(60)
        assert outcomes == ["stopped"]
        with pytest.raises(Stopped):
            process.ask("echo", value=1)


def test_a_process_may_end_by_itself_after_its_owner_has_closed_the_socket():
    process = Child(MODULE, ["json"])
    process.ask("echo", value=1)
    process.close(60.0)
    assert process.wait() == 0


def test_ctrl_c_reaches_the_owner_alone(child):
    child.ask("echo", value=1)
    assert os.getpgid(child.process.pid) == child.process.pid != os.getpgid(0)


def test_a_process_that_nobody_started_ends_with_one_line():
    command = [sys.executable, "-m", "harness.race.contestant"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: this module is started by another process")


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(("kind", "count"), [("prover", 2), ("contestant", 1), ("reference", 1), ("arm", 1)])
def test_no_process_outlives_its_owner(kind, count, ended_by):
    command = [sys.executable, "-m", "tests.harness.owner_program", kind]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        processes = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        owner.send_signal(ended_by)
        assert owner.wait() == -ended_by
    assert len(processes) >= count
    assert psutil.wait_procs(processes, timeout=60)[1] == []
