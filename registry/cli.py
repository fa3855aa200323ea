"""What every command line shares: options, and an error told in one line with an exit code."""

from __future__ import annotations

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

from registry.errors import CrucibleError
from registry.records import RESULTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["add_device", "add_keep", "add_kernels_path", "as_folder", "given_words", "guarded", "wide_console"]

INTERRUPTED = 130
PIPED_WIDTH = 120
SAME_SECONDS = 2.0  # Ctrl-C again within so many is the same wish


def add_kernels_path(parser: argparse.ArgumentParser) -> None:
    """Add ``--kernels-path DIR``, which may be given several times."""
    parser.add_argument(
        "--kernels-path", type=as_folder, action="append", default=[], metavar="DIR", help="a folder of more variants"
    )


def as_folder(text: str) -> Path:
    """Return the path of an option; a shell expands ``~`` in ``--option ~/mine``, but not in ``--option=~/mine``."""
    return Path(text).expanduser()


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, for commands that read what was raced."""
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda", help="whose races: those of the CPU, or of this GPU")


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Add ``--keep``, for commands that write records."""
    parser.add_argument(
        "--keep",
        action="store_true",
        help="read and write the tracked records alone, in results/<machine>/: for maintainers "
        "(default: write to results/local/<machine>/, which git ignores, and read both)",
    )


def given_words(options: argparse.Namespace) -> list[str]:
    """Return the options that a command suggested to the user needs as well, where the user gave them."""
    words = [word for path in options.kernels_path for word in ("--kernels-path", str(path))]
    if options.results.resolve() != RESULTS.resolve():
        words += ["--results", str(options.results)]
    return [*words, *(["--keep"] if getattr(options, "keep", False) else [])]


def wide_console(*, stderr: bool = False) -> Console:
    """Return a console for tables: as wide as the terminal, and wide enough for them where the output is a file or a pipe."""
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
    return console


@cache
def _leave_garbage() -> None:
    """Have this process end without a search for garbage, which takes longer than the end."""
    atexit.register(gc.freeze)


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` once: those that follow at once must not cut short what tidies up after it."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return

    heard = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        del number, frame
        before, heard = heard, time.monotonic()
        if heard - before > SAME_SECONDS:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def guarded(body: Callable[[], int]) -> int:
    """Run `body` and return its exit code; an error of ours becomes one line on standard error, and so does Ctrl-C."""
    _leave_garbage()
    try:
        with _interrupted_once():
            return body()
    except CrucibleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 (a command line answers)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing more was written", file=sys.stderr)  # noqa: T201 (a command line answers)
        return INTERRUPTED
