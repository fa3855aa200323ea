"""A run outlives its terminal for long enough to save its model."""

import fcntl
import os
import subprocess
import sys
import termios

from registry.table import ROOT

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
