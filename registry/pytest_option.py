"""``python -m registry.pytest_option`` teaches pytest in this virtual environment the option ``--kernels-path DIR``.

pytest searches its configuration beside the folders on its command line, before it knows the project's options. It takes DIR
for a folder of tests, searches there, misses the project's configuration, and refuses ``--kernels-path``. The form
``--kernels-path=DIR`` has no such problem. `install` therefore writes a copy of this file into the environment, with a
``.pth`` file by which each Python calls `apply` at its start: `apply` joins the two words before pytest reads them.

This file imports nothing of the project, because the copy runs without the project.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

__all__ = ["apply", "install", "joined"]

OPTION = "--kernels-path"
COPY = "crucible_pytest_option"


def _is_in_project(path: Path) -> bool:
    """Return whether a path is inside a checkout of the project."""
    return any((folder / "registry" / "pytest_option.py").is_file() for folder in (path, *path.parents))


def joined(words: list[str], root: Path, here: Path) -> list[str]:
    """Return the words of a pytest command with ``--kernels-path DIR`` as one word.

    Parameters
    ----------
    root : Path
        The project. Its tests are added if the option is given and neither `here` nor a path is inside a checkout.
    here : Path
        The current folder.
    """
    result: list[str] = []
    for word in words:
        if result and result[-1] == OPTION:
            result[-1] = f"{OPTION}={word}"
        else:
            result.append(word)
    has_option = any(word.startswith(f"{OPTION}=") for word in result)
    paths = [here / word.partition("::")[0] for word in result if not word.startswith("-")]
    if has_option and not any(_is_in_project(path.resolve()) for path in (here, *paths) if path.exists()):
        result.append(str(root / "tests"))
    return result


def apply(root: str) -> None:
    """Change the command line of this process, if the process is pytest."""
    words, start = getattr(sys, "argv", [""]), sys.orig_argv
    as_module = "-m" in start and start[start.index("-m") + 1 :][:1] == ["pytest"]
    if Path(words[0]).name in {"pytest", "py.test"} or (words[0] == "-m" and as_module):
        words[1:] = joined(words[1:], Path(root), Path.cwd())


def install(folder: Path, root: Path) -> None:
    """Write the copy and the ``.pth`` file into a folder from which Python reads ``.pth`` files."""
    (folder / f"{COPY}.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / f"{COPY}.pth").write_text(f"import {COPY}; {COPY}.apply({str(root)!r})\n", encoding="utf-8")


if __name__ == "__main__":
    install(Path(sysconfig.get_path("purelib")), Path(__file__).resolve().parent.parent)
