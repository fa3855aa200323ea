"""The rooms import each other in one direction, and the project behaves the same in every environment."""

import re
import subprocess
import sys

import pytest

from registry.paths import ROOT

ROOMS = ("simulator", "registry", "kernels", "harness", "trainer")
SOURCES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
# Child processes of a race get their thread pools' settings this way: nothing else reaches them before they start.
READS_ENVIRONMENT = {"harness"}
# torchrun tells each process of a run who it is, and it does so through the environment.
LAUNCHED = {ROOT / "trainer" / "ranks" / "process_group.py"}


def test_import_contract_holds():
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", [r for r in ROOMS if r not in READS_ENVIRONMENT])
def test_no_behaviour_by_environment_variable(room):
    found = [p for p in (ROOT / room).rglob("*.py") if re.search(r"os\.environ|getenv", p.read_text())]
    assert set(found) <= LAUNCHED


def test_importing_every_room_needs_no_gpu_and_no_torch():
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in SOURCES if p.parts[-2:] != ("harness", "oracle.py")]
    rooms = ("simulator", "registry", "kernels", "trainer")
    light = [m for m in modules if not m.endswith(("__main__", "__init__")) and m.startswith(rooms)]
    code = f"""
import importlib, sys
for module in {light}:
    importlib.import_module(module)
print("torch" in sys.modules, "cupy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "False"], done.stderr
