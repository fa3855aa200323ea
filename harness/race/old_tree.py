"""The kernels of another revision, run by today's harness, for ``--compare``."""

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
from registry.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OldTree", "check_out"]

TODAYS = ("registry", "harness")
KEPT = ROOT / ".cache" / "compare"


@dataclass(frozen=True)
class OldTree:
    """A folder with the kernels of `commit` and today's registry and harness.

    Attributes
    ----------
    hashes : dict
        The hash of the sources of each loadable variant, by op and variant.
    """

    root: Path
    commit: str
    hashes: dict[tuple[str, str], str]


def _git(project: Path, *words: str) -> bytes | None:
    """Return the standard output of git, or None if git failed."""
    git = shutil.which("git")
    if git is None:
        raise RequestError("--compare needs git, which is not installed")
    done = subprocess.run([git, *words], cwd=project, capture_output=True, check=False)
    return None if done.returncode else done.stdout


def check_out(revision: str, project: Path = ROOT, kept: Path = KEPT) -> OldTree:
    """Write the kernels of `revision` to a folder.

    Parameters
    ----------
    project : Path
        The git checkout.
    kept : Path
        The parent of the folder. The folder stays after the command, so that the next comparison finds what numba compiled.

    Raises
    ------
    RequestError
        The revision does not exist, or has no kernels.
    """
    resolved = _git(project, "rev-parse", "--verify", "--quiet", "--short", f"{revision}^{{commit}}")
    if resolved is None:
        raise RequestError(f"--compare {revision!r}: no such revision here; name a commit, branch or tag that git knows")
    commit = resolved.decode().strip()
    archived = _git(project, "archive", commit, "kernels")
    if archived is None:
        raise RequestError(f"--compare {revision!r}: {commit} has no kernels/")
    root = kept / commit
    for room in ("kernels", *TODAYS):
        shutil.rmtree(root / room, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        archive.extractall(root, filter="data")
    for room in TODAYS:
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "registry", "--json"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        why = (listed.stderr.strip().splitlines() or ["no message"])[-1]
        raise CrucibleError(f"today's registry cannot read the kernels of {commit}: {why}")
    variants = [(op["op"], v) for op in json.loads(listed.stdout)["ops"] for v in op["variants"]]
    return OldTree(root, commit, {(op, v["variant"]): v["source"] for op, v in variants if v["available"]})
