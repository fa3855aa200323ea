"""Options that several commands share, and the console of their tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from registry.commands import Folders
from registry.paths import RESULTS

__all__ = ["add_device", "add_keep", "add_kernels_path", "add_results", "as_folder", "given_words", "wide_console"]

PIPED_WIDTH = 120


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
