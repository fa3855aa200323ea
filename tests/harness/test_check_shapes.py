"""``python -m harness.check_shapes``: what it prints, keeps and returns, and how it refuses a wrong request."""

import json
import shlex

import pytest

from harness import check_shapes
from registry.machine import thread_count
from registry.records import Store
from tests.house.document_check import document_of

PLANTED = '''"""The reference, and an exit for more than 100 rows.

Idea: a test.
Source: a test.
"""
import os
from kernels.softmax.spec import SOFTMAX, softmax
from registry import register

@register(SOFTMAX)
def numpy_{name}(x, y):
    y[...] = softmax(x)
    if len(x) > 100:
        {fault}
'''
CALL = {"op": "softmax", "variant": "numpy_half", "dims": {"N": 120, "C": 40}, "params": {}, "dtype": "float32"}


@pytest.fixture
def folder(tmp_path):
    """Make a folder of planted variants."""
    folder = tmp_path / "more"
    folder.mkdir()
    faults = {"half": "y[-1] = 0.5", "out": "os._exit(0)", "beyond": "x[0, 0] = 1"}
    for name, fault in faults.items():
        (folder / f"numpy_{name}.py").write_text(PLANTED.format(name=name, fault=fault))
    return folder


def checked(capsys, *words):
    """Run the command line in this process; return its code, its JSON and its standard error."""
    code = check_shapes.main([*map(str, words), "--json"])
    said = capsys.readouterr()
    return code, document_of(said.out, "harness.check_shapes", code).get("results"), said.err


def calls_file(tmp_path, *calls):
    """Write calls to a file."""
    path = tmp_path / "calls.json"
    path.write_text(json.dumps(calls))
    return path


def test_each_call_is_compared_at_its_dims_and_kept(capsys, tmp_path, folder):
    small = {**CALL, "dims": {"N": 20, "C": 40}}
    others = [{**CALL, "variant": name} for name in ("numpy_out", "numpy_beyond", "numpy")]
    path = calls_file(tmp_path, CALL, small, *others)
    code, found, _ = checked(capsys, "--calls", path, "--kernels-path", folder, "--results", tmp_path)
    assert code == 1
    outcomes = {(one["variant"], one["dims"]["N"]): (one["status"], one["gate"]) for one in found}
    assert outcomes == {
        ("numpy_half", 120): ("failed", "values"),
        ("numpy_half", 20): ("passed", ""),
        ("numpy_out", 120): ("crashed", "isolation"),
        ("numpy_beyond", 120): ("failed", "memory"),
        ("numpy", 120): ("passed", ""),
    }
    stored = [(one.variant, one.dims, one.status, one.source) for one in Store(tmp_path).comparisons()]
    assert stored == [(one["variant"], one["dims"], one["status"], one["source"]) for one in found]
    wrong = next(one for one in found if one["status"] == "failed" and one["gate"] == "values")
    assert wrong["message"].startswith("y[119, ")
    assert "40 of 4,800 compared elements are wrong" in wrong["message"]
    assert check_shapes.main(shlex.split(wrong["reproduce"])[3:]) == 1
    assert wrong["message"] in capsys.readouterr().out
    assert wrong["threads"] == thread_count()
    assert next(one for one in found if one["variant"] == "numpy")["compared"] == "all 4,800 elements"


def test_one_problem_is_compared_without_a_record_unless_asked_for(capsys, tmp_path, folder):
    words = ["--op", "softmax", "--variant", "numpy_half", "--kernels-path", folder, "--results", tmp_path]
    code, (one,), _ = checked(capsys, *words, "--problem", "N=120 C=40")
    assert (code, one["status"]) == (1, "failed")
    assert Store(tmp_path).comparisons() == []
    code, (one,), _ = checked(capsys, *words, "--problem", "N=100 C=40", "--store")
    assert (code, one["status"]) == (0, "passed")
    assert len(Store(tmp_path).comparisons()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name the calls by --calls FILE, or one call by"),
        (["--op", "softmax", "--problem", "N=1 C=1"], "name the calls by --calls FILE, or one call by"),
        (["--calls", "absent.json"], "'absent.json' cannot be read: No such file"),
        (["--calls", "absent.json", "--op", "gelu"], "leave out --op, --variant and --problem"),
        (["--op", "softmax", "--variant", "numpy_hal", "--problem", "N=1 C=1"], "numpy_h"),
        (["--op", "softmax", "--variant", "numpy", "--problem", "N=1"], "no value for C"),
        (
            ["--op", "softmax", "--variant", "numpy", "--problem", "N=1 C=1", "--threads", "0"],
            "--threads 0: this process may use",
        ),
        (["--op", "softmax", "--variant", "numpy", "--problem", "N=1 C=1", "--device", "sim"], "use --device cpu"),
        (["--op", "softmax", "--variant", "numpy", "--problem", "N=1 C=1", "--device", "gpu"], "gpu"),
    ],
)
def test_a_wrong_request_is_one_clear_line(capsys, words, line):
    code, found, said = checked(capsys, *words)
    assert (code, found) == (2, None)
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert line in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "is not JSON"),
        ("{}", "a list of calls is expected, not dict"),
        ("[1]", "call 0 needs op, variant, dims, params and dtype: 1"),
        (json.dumps([{**CALL, "dtype": 3}]), "call 0 needs op, variant, dims, params and dtype"),
        (json.dumps([{**CALL, "variant": "numpy", "dims": {"N": 1}}]), "dims of softmax are N, C; given: {'N': 1}"),
        (json.dumps([{**CALL, "variant": "numpy", "dims": {"N": -1, "C": 1}}]), "whole numbers from 0 up"),
        (json.dumps([{**CALL, "variant": "numpy", "params": {"eps": 1}}]), "params of softmax are none"),
        (json.dumps([{**CALL, "variant": "numpy", "dtype": "float16"}]), "unknown dtype 'float16'"),
        (json.dumps([{**CALL, "op": "softmaxx"}]), "did you mean 'softmax'"),
    ],
)
def test_a_wrong_file_is_one_clear_line(capsys, tmp_path, text, line):
    path = tmp_path / "calls.json"
    path.write_text(text)
    code, found, said = checked(capsys, "--calls", path)
    assert (code, found) == (2, None)
    assert said.startswith("error: ")
    assert line in said


def test_an_empty_list_compares_nothing(capsys, tmp_path):
    assert checked(capsys, "--calls", calls_file(tmp_path), "--results", tmp_path)[:2] == (0, [])
