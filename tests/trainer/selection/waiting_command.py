"""``python -m tests.trainer.selection.waiting_command PIPE FILE``: wait for Ctrl-C, and write a file while cleaning up."""

import os
import signal
import sys
from pathlib import Path

__all__ = ["main"]


def main(pipe, file):
    """Write the process's number into the pipe, wait, and write the file at the end."""
    try:
        Path(pipe).write_text(f"{os.getpid()}\n")
        signal.pause()
    finally:
        Path(file).write_text("cleaned up")


if __name__ == "__main__":
    main(*sys.argv[1:])
