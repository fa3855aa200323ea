"""Code compares devices and statuses with members of the enums: mypy reports a misspelt member, but no misspelt string."""

import ast

import pytest

from registry.paths import ROOT
from tests.house.test_files import files

ROOMS = ("registry", "models", "harness", "trainer")
NAMES = {"device", "place", "kind", "status"}
WORDS = {"cpu", "sim", "cuda", "host", "passed", "failed", "crashed", "hung", "refused", "partial", "unproven", "not_compared"}


def compared_words(code):
    """Return the line numbers of comparisons of a device or a status with a string, or with a literal set of strings."""
    lines = []
    for node in (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Compare)):
        sides = [node.left, *node.comparators]
        names = {side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "") for side in sides}
        literals = [constant.value for side in sides for constant in ast.walk(side) if isinstance(constant, ast.Constant)]
        if names & NAMES and WORDS & {literal for literal in literals if isinstance(literal, str)}:
            lines.append(node.lineno)
    return lines


def test_no_device_and_no_status_is_compared_with_a_string():
    paths = [path for path in files("*.py") if path.relative_to(ROOT).parts[0] in ROOMS]
    assert len(paths) > 100
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in compared_words(path.read_text())]
    assert wrong == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('run.device == "cpu"', [1]),
        ('x = 1\nif place != "sim": pass', [2]),
        ('proof.status in {"passed", "refused"}', [1]),
        ('"passed" == status', [1]),
        ("run.device == Device.CPU", []),
        ('request.base == "cuda"', []),
        ('entry.kind == "torch"', []),
    ],
)
def test_a_comparison_with_a_string_is_found(code, found):
    assert compared_words(code) == found
