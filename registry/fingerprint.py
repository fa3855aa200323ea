"""Hashes of the code behind a proof: the sources of a variant, and the contract of its op.

Every hash and every comparison reads the files from the disk. Two things are cached: the list of modules that a
text imports, and the places of helper modules on Python's path.
"""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.foreign import imported_names, local_files
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from registry.op import Op
    from registry.variant import Variant

__all__ = ["Snapshot", "contract_hash", "source_hash", "sources"]

SUFFIXES = {".py", ".cu", ".cuh", ".h", ".hpp"}


def _imports(path: Path) -> Iterator[Path]:
    """Yield the files that a file imports: files under ``kernels/``, and helper files outside the project."""
    for name in imported_names(path.read_text()):
        if name.partition(".")[0] == "kernels":
            base = ROOT.joinpath(*name.split("."))
            yield from (p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists())
        else:
            yield from local_files(name, path)


def _with_headers(files: set[Path]) -> set[Path]:
    """Return CUDA sources and the headers that they include, directly or not.

    A header is searched beside the source and in ``kernels/cuda/``. If both folders have it, both files are returned.
    """
    known, waiting = set(files), list(files)
    while waiting:
        source = waiting.pop()
        for name in re.findall(r'^\s*#\s*include\s+["<]([^">]+)[">]', source.read_text(), flags=re.MULTILINE):
            for folder in (source.parent, ROOT / "kernels" / "cuda"):
                header = (folder / name).resolve()
                if header.is_file() and header not in known:
                    known.add(header)
                    waiting.append(header)
    return known


def sources(path: Path) -> list[Path]:
    """Return a file, all kernel and helper files that it imports, directly or not, their ``.cu`` files, and the headers."""
    known, waiting = {path}, [path]
    while waiting:
        for imported in _imports(waiting.pop()):
            if imported not in known:
                known.add(imported)
                waiting.append(imported)
    cuda = {p.with_suffix(".cu") for p in known if p.with_suffix(".cu").exists()}
    return sorted(known | _with_headers(cuda))


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _contract_file(op: Op) -> Path:
    return ROOT / "kernels" / op.family / "spec.py"


def source_hash(variant: Variant) -> str:
    """Return the hash of all sources of `variant`."""
    return _digest(sources(variant.path))


def code_hash(*folders: Path) -> str:
    """Return the hash of all Python files in some folders."""
    return _digest(path for folder in folders for path in sorted(folder.rglob("*.py")))


def contract_hash(op: Op) -> str:
    """Return the hash of the op's contract: its spec and the files that the spec imports."""
    return _digest(sources(_contract_file(op)))


def _state(path: Path) -> tuple[int, bytes]:
    """Return the time of the last change of a file, and the digest of its contents."""
    return path.stat().st_ctime_ns, hashlib.sha256(path.read_bytes()).digest()


@dataclass(frozen=True)
class Snapshot:
    """The state of every source file, taken before any process imports one of them.

    A file counts as changed if its contents or its time of change differ: a process may have imported a file between an
    edit and its reversal.

    Parameters
    ----------
    folders : tuple of Path
        Folders of more variants, beside ``kernels/``.
    """

    folders: tuple[Path, ...] = ()
    taken_ns: int = field(default_factory=time.time_ns)
    files: dict[Path, tuple[int, bytes]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        folders = tuple(folder.resolve() for folder in (ROOT / "kernels", *self.folders))
        files = {}
        for path in (p for folder in folders for p in folder.rglob("*") if p.suffix in SUFFIXES):
            with suppress(OSError):  # an editor may be replacing the file
                if path.is_file():  # reading a pipe could block for ever
                    files[path] = _state(path)
        object.__setattr__(self, "folders", folders)
        object.__setattr__(self, "files", files)

    def changed(self, variant: Variant) -> list[Path]:
        """Return the sources of `variant` and of its op's contract that have changed since the snapshot."""
        changed: set[Path] = set()
        for start in (variant.path, _contract_file(variant.op)):
            try:
                changed |= {path for path in sources(start) if self._is_changed(path.resolve())}
            except (OSError, SyntaxError, UnicodeDecodeError):  # a file is being written, or is gone
                changed.add(start)
        return sorted(changed)

    def _is_changed(self, path: Path) -> bool:
        if path in self.files:
            return self.files[path] != _state(path)
        is_new = any(path.is_relative_to(folder) for folder in self.folders)
        return is_new or path.stat().st_ctime_ns > self.taken_ns
