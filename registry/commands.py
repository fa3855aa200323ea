"""Commands of the project as lines to paste into a shell. Words that a shell would split or expand are quoted."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.paths import RESULTS, is_own

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Folders", "folder_of", "pasted"]


@dataclass(frozen=True)
class Folders:
    """The folder options of a command. A command that it prints or starts needs the same options.

    Attributes
    ----------
    kernels_path : tuple of Path
        Folders of more variants.
    results : Path
        The folder of records. The project's own folder needs no option.
    """

    kernels_path: tuple[Path, ...] = ()
    results: Path = RESULTS

    def words(self) -> list[str]:
        """Return the options as words, for a command that runs in the same folder."""
        words = [word for path in self.kernels_path for word in ("--kernels-path", str(path))]
        return words if self.results.resolve() == RESULTS.resolve() else [*words, "--results", str(self.results)]

    def absolute(self) -> Folders:
        """Return the same folders for a command that runs in another folder."""
        return Folders(tuple(path.absolute() for path in self.kernels_path), self.results.absolute())


def pasted(module: str, *words: str, folders: Folders | None = None) -> str:
    """Return ``python -m module words...`` as one line for a shell."""
    return shlex.join(["python", "-m", module, *words, *(folders.words() if folders else ())])


def folder_of(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the folders that ``--kernels-path`` must name to find the files `paths`. The project's own files need none."""
    return tuple(dict.fromkeys(path.parent for path in paths if not is_own(path)))
