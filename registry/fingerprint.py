"""Hashes that tie a proof to what was proven: a variant's sources, and its op's contract."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING

from registry.foreign import imported_names, local_files
from registry.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.op import Op
    from registry.variant import Variant

__all__ = ["contract_hash", "source_hash", "sources"]


def _imports(path: Path) -> Iterator[Path]:
    """Yield the files under ``kernels/`` and the helper files outside the project that a file imports."""
    for name in imported_names(path):
        if name.partition(".")[0] == "kernels":
            base = ROOT.joinpath(*name.split("."))
            yield from (p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists())
        else:
            yield from local_files(name, path)


def _with_headers(files: set[Path]) -> set[Path]:
    """Return CUDA sources and the device headers of the project that they include, directly or not."""
    found, waiting = set(files), list(files)
    while waiting:
        text = waiting.pop().read_text()
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, flags=re.MULTILINE):
            header = ROOT / "kernels" / "cuda" / name
            if header.exists() and header not in found:
                found.add(header)
                waiting.append(header)
    return found


def sources(path: Path) -> list[Path]:
    """Return a file, all kernel and helper files that it imports, directly or not, the ``.cu`` files beside, and headers."""
    found, waiting = {path}, [path]
    while waiting:
        for imported in _imports(waiting.pop()):
            if imported not in found:
                found.add(imported)
                waiting.append(imported)
    cuda = {p.with_suffix(".cu") for p in found if p.with_suffix(".cu").exists()}
    return sorted(found | _with_headers(cuda))


@cache
def _digest(paths: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def source_hash(variant: Variant) -> str:
    """Return the hash of all sources that decide what `variant` computes."""
    return _digest(tuple(sources(variant.path)))


def contract_hash(op: Op) -> str:
    """Return the hash of the files that hold the op's contract."""
    return _digest(tuple(sources(ROOT / "kernels" / op.family / "spec.py")))
