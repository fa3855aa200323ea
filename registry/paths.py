"""Folders of the project: its root, its kernels, its records, and its caches."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CACHE", "KERNELS", "RESULTS", "ROOMS", "ROOT", "is_own"]

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"
RESULTS = ROOT / "results"
CACHE = ROOT / ".cache"
ROOMS = frozenset(path.parent.name for path in ROOT.glob("*/__init__.py")) | {KERNELS.name}


def is_own(path: Path) -> bool:
    """Return whether a file belongs to one of the project's packages. A user's folder inside the project does not count."""
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS
