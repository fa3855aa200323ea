"""The cache folders in which numba keeps the machine code of foreign files: each is named after a hash of all sources.

numba notices a change of the file that holds a function, but no change of a file whose functions it calls. The project's own
jitted code calls jitted code of its own file and of `kernels.simd` only; foreign files are free to call other files.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.paths import CACHE, is_own

if TYPE_CHECKING:
    from types import FunctionType

__all__ = ["FOREIGN", "ForeignCache", "keep_foreign_code_apart"]

FOREIGN = CACHE / "numba" / "foreign"


def _digest(path: Path) -> str:
    """Return the digest of a file and of all project and helper files that it imports."""
    from registry.fingerprint import sources

    digest = hashlib.sha256(str(path).encode())
    for source in sources(path):
        digest.update(b"\0" + source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:24]


class ForeignCache:
    """The cache place of one function that is compiled with ``cache=True``, with the methods of numba's cache locators."""

    def __init__(self, function: FunctionType, path: Path) -> None:
        self.line = function.__code__.co_firstlineno
        self.folder = FOREIGN / _digest(path)

    @classmethod
    def from_function(cls, py_func: FunctionType, py_file: str) -> ForeignCache | None:
        """Return the place for a function of a foreign file, or None for another function, which numba then places."""
        from registry.foreign import is_installed

        path = Path(py_file).resolve()
        if not path.is_file() or is_own(path) or is_installed(path):
            return None
        place = cls(py_func, path)
        try:
            place.ensure_cache_path()
        except OSError:
            return None
        return place

    def ensure_cache_path(self) -> None:
        """Make the folder, and raise an error if it cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=self.folder).close()

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self.folder)

    def get_source_stamp(self) -> str:
        """Return the digest of the sources, which is the name of the folder."""
        return self.folder.name

    def get_disambiguator(self) -> str:
        """Return the line number, which distinguishes functions of one name in one file."""
        return str(self.line)


def keep_foreign_code_apart(path: Path) -> None:
    """Make numba try `ForeignCache` first, if the foreign file `path` or a file that it imports uses numba."""
    from registry.fingerprint import sources

    if "numba" not in sys.modules and not any(b"numba" in source.read_bytes() for source in sources(path)):
        return
    from numba import config
    from numba.core.caching import CacheImpl

    ours = f"{__name__}.{ForeignCache.__name__}"
    known: list[Any] = CacheImpl._locator_classes  # noqa: SLF001 (numba has no public list of its classes)
    others = config.CACHE_LOCATOR_CLASSES or ",".join(known_class.__name__ for known_class in known)
    if ours not in others.split(","):
        config.CACHE_LOCATOR_CLASSES = f"{ours},{others}"
