"""A confined process can write to the allowed folders only."""

import os
import subprocess
import sys

import pytest

from harness.proof.sandbox.confinement import can_confine

pytestmark = pytest.mark.skipif(not can_confine(), reason="this system has no Landlock")

TRIES = {
    "write": "open(there / 'old', 'w')",
    "append": "open(there / 'old', 'a').write('more')",
    "truncate": "os.truncate(there / 'old', 0)",
    "make": "open(there / 'new', 'w')",
    "remove": "os.remove(there / 'old')",
    "rename into": "os.rename(allowed / 'old', there / 'old')",
    "rename away": "os.rename(there / 'old', allowed / 'new')",
    "link": "os.symlink('old', there / 'link')",
    "folder": "os.mkdir(there / 'folder')",
    "of a process it starts": "subprocess.run([sys.executable, '-c', f'open({str(there / \"old\")!r}, \"w\")'], check=True)",
}
SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from harness.proof.sandbox.confinement import confine_writes
allowed, there = Path(sys.argv[1]), Path(sys.argv[2])
confine_writes([allowed, allowed / "does not exist"])
try:
    {code}
except (PermissionError, OSError, subprocess.CalledProcessError) as error:
    print("denied")
print((there / "old").read_text() if (there / "old").exists() else "")
"""


def tried(folder, code, *, beyond):
    """Return the output of a confined process that runs `code` in the allowed folder, or in another one if `beyond`."""
    for name in ("allowed", "beyond"):
        (folder / name).mkdir()
        (folder / name / "old").write_text("kept")
    there = folder / ("beyond" if beyond else "allowed")
    command = [sys.executable, "-c", SCRIPT.format(code=code), str(folder / "allowed"), str(there)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."})
    return done.stdout.split()


@pytest.mark.parametrize("name", TRIES)
def test_nothing_is_changed_elsewhere(tmp_path, name):
    assert tried(tmp_path, TRIES[name], beyond=True) == ["denied", "kept"]
    assert (tmp_path / "beyond" / "old").read_text() == "kept"
    assert sorted(p.name for p in (tmp_path / "beyond").iterdir()) == ["old"]


@pytest.mark.parametrize("name", TRIES)
def test_everything_may_be_changed_where_it_is_allowed(tmp_path, name):
    assert "denied" not in tried(tmp_path, TRIES[name], beyond=False)
