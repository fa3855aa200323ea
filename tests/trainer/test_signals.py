"""A signal during the training saves the model; before, it leaves no folder; and a closed terminal does not end the step."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios

import pytest

from registry.paths import ROOT
from trainer import run, session
from trainer.state import model_file

CODE = """
import sys
from pathlib import Path
from trainer.signals import interruptible

with interruptible(lambda text: print(text, file=sys.stderr, flush=True)) as interrupt:
    Path(sys.argv[1]).write_text("ready")
    while not interrupt.requested:
        pass
    print("more output", flush=True)
    Path(sys.argv[2]).write_text(interrupt.signal.name)
"""


def test_a_run_whose_terminal_is_closed_goes_on_to_the_end_of_the_step(tmp_path):
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    controller, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", CODE, str(pipe), str(file)],
        cwd=ROOT,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (the child has one thread)
    ) as process:
        os.close(terminal)
        pipe.read_text()
        os.close(controller)
        assert process.wait() == 0
    assert file.read_text() == "SIGHUP"


@pytest.mark.parametrize(
    ("number", "ended"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")],
)
def test_a_signal_during_the_training_saves_says_so_and_has_its_exit_code(pico, capsys, tmp_path, monkeypatch, number, ended):
    original = session.ProgressBar.stepped

    def stepped(self, update):
        original(self, update)
        if update.step == 2:
            signal.raise_signal(number)

    monkeypatch.setattr(session.ProgressBar, "stepped", stepped)
    assert run.main([*pico, "--json"]) == 128 + number
    saved, shown = tmp_path / "out" / model_file.FILE, capsys.readouterr()
    assert f"{ended} after step 2 of 4; saved {saved}" in shown.err
    assert saved.exists()
    document = json.loads(shown.out)
    assert (document["interrupted"], document["signal"], document["steps"]) == (True, number.name, 2)


def test_a_signal_that_nohup_ignores_stays_ignored(pico, monkeypatch, tmp_path):
    monkeypatch.setattr(session, "warm_up", lambda *_: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run.main(pico) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "out" / model_file.FILE).exists()


@pytest.mark.parametrize("moment", ["Program", "warm_up", "open_data"])
@pytest.mark.parametrize(
    ("number", "ended"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")],
)
def test_a_signal_before_the_first_update_leaves_no_folder(pico, capsys, tmp_path, monkeypatch, moment, number, ended):
    def interrupt(*_, **__):
        assert (tmp_path / "out").is_dir()
        signal.raise_signal(number)

    monkeypatch.setattr(f"trainer.session.{moment}", interrupt)
    before = signal.getsignal(number)
    assert run.main(pico) == 128 + number
    assert capsys.readouterr().err.splitlines()[-1] == f"{ended}; nothing more was written"
    assert not (tmp_path / "out").exists()
    assert signal.getsignal(number) is before
