"""Code that every command line shares: common options, errors in one line with an exit code, and Ctrl-C."""

from __future__ import annotations

import argparse
import atexit
import gc
import math
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from registry.commands import Folders
from registry.errors import FAILED, CrucibleError
from registry.paths import RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["add_device", "add_keep", "add_kernels_path", "add_results", "as_folder", "given_words", "guarded", "wide_console"]

INTERRUPTED = 130
PIPED_WIDTH = 120
SAME_SECONDS = 2.0  # a second Ctrl-C within this time is ignored


def add_kernels_path(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--kernels-path DIR``, which a user may give several times."""
    parser.add_argument(
        "--kernels-path", type=as_folder, action="append", default=[], metavar="DIR", help="a folder of more variants"
    )


def as_folder(text: str) -> Path:
    """Return the path of an option, with ``~`` expanded: a shell does not expand it in ``--option=~/mine``."""
    return Path(text).expanduser()


def _as_results(text: str) -> Path:
    """Return the folder of ``--results``, which need not exist yet.

    Raises
    ------
    ArgumentTypeError
        It is a file. A command that found this out when it stores its records would lose them.
    """
    folder = as_folder(text)
    if folder.exists() and not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a file, not a folder of records")
    return folder


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--results DIR``, for commands that read or write records."""
    parser.add_argument("--results", type=_as_results, default=RESULTS, metavar="DIR", help="the folder of records")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--device``, for commands that read races."""
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda", help="use the races of this device")


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--keep``, for commands that write records."""
    parser.add_argument(
        "--keep",
        action="store_true",
        help="read and write only the tracked records, in results/<machine>/: for maintainers "
        "(default: write to results/local/<machine>/, which git ignores, and read both)",
    )


def given_words(options: argparse.Namespace) -> list[str]:
    """Return the options of the user's command that a command suggested to the user must repeat."""
    words = Folders(tuple(options.kernels_path), options.results).words()
    return [*words, *(["--keep"] if getattr(options, "keep", False) else [])]


def wide_console(*, stderr: bool = False) -> Console:
    """Return a console for tables: as wide as the terminal, and at least `PIPED_WIDTH` wide in a file or a pipe."""
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
    return console


@cache
def _leave_garbage() -> None:
    """Skip the garbage collection at the end of the process: it takes longer than the rest of the exit."""
    atexit.register(gc.freeze)


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` once: further ones within `SAME_SECONDS` must not interrupt the clean-up."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return

    last = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        del number, frame
        before, last = last, time.monotonic()
        if last - before > SAME_SECONDS:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def guarded(body: Callable[[], int]) -> int:
    """Run `body` and return its exit code. A `CrucibleError`, a lack of memory or Ctrl-C becomes one line on standard error."""
    _leave_garbage()
    try:
        with _interrupted_once():
            return body()
    except CrucibleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 (the output of the command)
        return error.exit_code
    except MemoryError as error:
        print(f"error: not enough memory: {error or 'an allocation failed'}", file=sys.stderr)  # noqa: T201 (the output of the command)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; nothing more was written", file=sys.stderr)  # noqa: T201 (the output of the command)
        return INTERRUPTED
