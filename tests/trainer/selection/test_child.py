"""A signal that ends a run also ends the command that the run waits for, after the clean-up of the command."""

import os
import signal
import subprocess
import sys

import pytest

from registry.table import ROOT

CODE = """
import sys
from registry.errors import TerminatedError
from trainer.selection.child import run_command
from trainer.signals import terminable

try:
    with terminable():
        run_command(["tests.trainer.selection.waiting_command", *sys.argv[1:]])
except TerminatedError as error:
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_run_ends_its_command_after_the_clean_up(tmp_path, number):
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", CODE, str(pipe), str(file)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        child = int(pipe.read_text())
        process.send_signal(number)
        assert process.wait() == 128 + number
    assert file.read_text() == "cleaned up"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
