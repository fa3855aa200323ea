"""Files stay small, say what they export, and give a reason for every exception they make."""

import ast
import importlib
import re
import subprocess

import pytest

from registry.paths import ROOT

CEILING = 400


def files(*patterns):
    """Return the project's files of these kinds."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(ROOT / name for name in listed if (ROOT / name).exists())


PYTHON, CUDA, CPP = files("*.py"), files("*.cu", "*.cuh"), files("*.cpp", "*.hpp")
PUBLIC = [
    p
    for p in PYTHON
    if p.relative_to(ROOT).parts[0] in {"simulator", "registry", "harness", "trainer"} and not p.name.startswith("__")
]


def label(path):
    """Return a path as a test id."""
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check():
    assert len(PYTHON) > 50
    assert len(PUBLIC) > 20
    assert len(CUDA) > 50


@pytest.mark.parametrize("path", [*PYTHON, *CUDA, *CPP], ids=label)
def test_no_file_is_longer_than_the_ceiling(path):
    assert len(path.read_text().splitlines()) <= CEILING


@pytest.mark.parametrize("path", PUBLIC, ids=label)
def test_all_lists_only_names_that_exist(path):
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert [n for n in module.__all__ if not hasattr(module, n)] == []


@pytest.mark.parametrize("path", PYTHON, ids=label)
def test_every_exception_to_a_rule_gives_its_reason(path):
    bare = r"# (noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\])\s*$"
    assert [line for line in path.read_text().splitlines() if re.search(bare, line)] == []


@pytest.mark.parametrize("path", PYTHON, ids=label)
def test_no_code_is_commented_out_and_no_banner_is_drawn(path):
    assert [line for line in path.read_text().splitlines() if re.match(r"\s*#\s*[-=#*~]{4,}", line)] == []


def test_every_module_says_what_it_is():
    assert [label(p) for p in PYTHON if ast.get_docstring(ast.parse(p.read_text())) is None] == []
