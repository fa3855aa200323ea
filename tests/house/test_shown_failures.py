"""A failure that a page shows after a change of the project happens: the test makes the change in a copy of the project."""

import re
import shutil
import subprocess
import sys

from registry.paths import ROOT

ROOMS = ("registry", "models", "kernels", "harness", "simulator")
PAGE = ROOT / "docs" / "add-an-op.md"


def test_without_saved_the_reference_fails_as_the_page_shows(tmp_path):
    shown = re.search(
        r"Without the field, `(harness\.verify [^`]+)`.*?\n\n    (\S+ failed at gate '\w+': \w+\[0, 0\])",
        PAGE.read_text(),
        re.DOTALL,
    )
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    spec = tmp_path / "kernels" / "rms_norm" / "spec.py"
    text = spec.read_text()
    assert text.count("    saved=_saved,\n") == 1
    spec.write_text(text.replace("    saved=_saved,\n", ""))
    words = [*shown[1].split(), "--results", str(tmp_path / "results")]
    done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert shown[2] in done.stdout
