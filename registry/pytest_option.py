"""``python -m registry.pytest_option`` lets pytest of this virtual environment understand ``--kernels-path DIR``.

pytest looks for its configuration beside the folders on its command line, before it knows the project's options: it takes DIR
for a folder of tests, looks for the configuration there, and then knows no ``--kernels-path``. ``--kernels-path=DIR`` has no
such fault. `install` therefore writes a copy of this file into the environment, and a ``.pth`` file by which each Python calls
`apply` when it starts: before pytest reads its command line, the two words become one.

This file imports nothing of the project, since its copy stands alone.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

__all__ = ["apply", "install", "joined"]

OPTION = "--kernels-path"
COPY = "crucible_pytest_option"


def _is_in_project(path: Path) -> bool:
    """Return whether a path lies in a checkout of the project."""
    return any((folder / "registry" / "pytest_option.py").is_file() for folder in (path, *path.parents))


def joined(words: list[str], root: Path, here: Path) -> list[str]:
    """Return the words of a pytest command with ``--kernels-path DIR`` as one word.

    Parameters
    ----------
    root : Path
        The project: its tests are added where the option is given, but neither `here` nor a word leads to a checkout.
    here : Path
        The current folder.
    """
    found: list[str] = []
    for word in words:
        if found and found[-1] == OPTION:
            found[-1] = f"{OPTION}={word}"
        else:
            found.append(word)
    asked = any(word.startswith(f"{OPTION}=") for word in found)
    paths = [here / word.partition("::")[0] for word in found if not word.startswith("-")]
    if asked and not any(_is_in_project(path.resolve()) for path in (here, *paths) if path.exists()):
        found.append(str(root / "tests"))
    return found


def apply(root: str) -> None:
    """Change the command line of this process, if it is pytest's."""
    words, start = getattr(sys, "argv", [""]), sys.orig_argv
    as_module = "-m" in start and start[start.index("-m") + 1 :][:1] == ["pytest"]
    if Path(words[0]).name in {"pytest", "py.test"} or (words[0] == "-m" and as_module):
        words[1:] = joined(words[1:], Path(root), Path.cwd())


def install(folder: Path, root: Path) -> None:
    """Write the copy and the ``.pth`` file into a folder that Python reads ``.pth`` files from."""
    (folder / f"{COPY}.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / f"{COPY}.pth").write_text(f"import {COPY}; {COPY}.apply({str(root)!r})\n", encoding="utf-8")


if __name__ == "__main__":
    install(Path(sysconfig.get_path("purelib")), Path(__file__).resolve().parent.parent)
