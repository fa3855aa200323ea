"""The kernels of another revision under today's harness: what ``--compare`` races the working tree against."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import CrucibleError, RequestError
from registry.table import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OldTree", "check_out"]

TODAYS = ("registry", "harness")
KEPT = ROOT / ".cache" / "compare"


@dataclass(frozen=True)
class OldTree:
    """A folder with the kernels of `commit`, and today's registry and harness beside them.

    Attributes
    ----------
    hashes : dict
        Per op and variant that could be loaded there, the hash of its sources.
    """

    root: Path
    commit: str
    hashes: dict[tuple[str, str], str]


def _git(project: Path, *words: str) -> bytes | None:
    """Return what git printed, or None where it failed."""
    git = shutil.which("git")
    if git is None:
        raise RequestError("--compare needs git, which is not installed")
    found = subprocess.run([git, *words], cwd=project, capture_output=True, check=False)
    return None if found.returncode else found.stdout


def check_out(revision: str, project: Path = ROOT, kept: Path = KEPT) -> OldTree:
    """Lay out the kernels of `revision`.

    Parameters
    ----------
    project : Path
        The git checkout.
    kept : Path
        Where to lay them out; kept, so that what numba compiled there serves the next comparison too.

    Raises
    ------
    RequestError
        There is no such revision, or it has no kernels.
    """
    found = _git(project, "rev-parse", "--verify", "--quiet", "--short", f"{revision}^{{commit}}")
    if found is None:
        raise RequestError(f"--compare {revision!r}: no such revision here; name a commit, branch or tag that git knows")
    commit = found.decode().strip()
    packed = _git(project, "archive", commit, "kernels")
    if packed is None:
        raise RequestError(f"--compare {revision!r}: {commit} has no kernels/")
    root = kept / commit
    for room in ("kernels", *TODAYS):
        shutil.rmtree(root / room, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(root, filter="data")
    for room in TODAYS:
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "registry", "--json"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        why = (listed.stderr.strip().splitlines() or ["no message"])[-1]
        raise CrucibleError(f"the kernels of {commit} cannot be read by today's registry: {why}")
    variants = [(op["op"], v) for op in json.loads(listed.stdout)["ops"] for v in op["variants"]]
    return OldTree(root, commit, {(op, v["variant"]): v["source"] for op, v in variants if v["available"]})
