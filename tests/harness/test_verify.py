"""The command line: what it prints, stores and returns, and how it refuses a wrong request."""

import shlex
import subprocess
import sys

import pytest

from harness import verify
from registry import records
from registry.paths import ROOT
from registry.records import Store
from registry.table import discover
from tests.house.document_check import document_of

WRONG = '''"""Zeros.

Idea: a test.
Source: a test.
"""
from kernels.softmax.spec import SOFTMAX
from registry import register

@register(SOFTMAX)
def numpy_zeros(x, y):
    y[:] = 0
'''
FIELDS = {
    "op": str,
    "variant": str,
    "device": str,
    "status": str,
    "gate": str,
    "problems": int,
    "worst_over_tolerance": float,
    "fakes_rejected": float,
    "seconds": float,
    "reproduce": str,
    "revoked": str,
}


@pytest.fixture
def folder(tmp_path):
    """Make a folder with a wrong variant and a file that does not load."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "numpy_zeros.py").write_text(WRONG)
    (folder / "numpy_broken.py").write_text("def numpy_broken(:\n")
    return folder


def verified(capsys, *arguments):
    """Run the command line in this process; return its code, its JSON and its standard error."""
    code = verify.main([*map(str, arguments), "--json"])
    said = capsys.readouterr()
    return code, document_of(said.out, "harness.verify", code).get("results"), said.err


def test_passing_variant_leaves_fresh_evidence(capsys, tmp_path):
    code, (result,), _ = verified(capsys, "--op", "softmax_backward", "--variant", "numpy", "--results", tmp_path)
    assert code == 0
    assert {n: type(result[n]) for n in FIELDS} == FIELDS
    assert (result["status"], result["gate"], result["device"], result["fakes_rejected"]) == ("passed", "", "cpu", 1.0)
    assert result["problems"] > 20
    variant = discover().variant("softmax_backward", "numpy")
    proof = Store(tmp_path).require_proof(variant)
    assert (proof.problems, proof.profile, proof.status) == (result["problems"], "dev", "passed")


def test_evidence_is_the_user_s_own_unless_it_is_to_be_kept(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    about = ("--op", "residua[l]", "--variant", "numpy", "--examples", 6, "--results", tmp_path)
    assert verified(capsys, *about)[0] == 0
    assert [path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("evidence.jsonl")] == ["local"]
    assert verified(capsys, *about, "--keep")[0] == 0
    assert len(Store(tmp_path, keep=True).evidence()) == 1
    assert len(Store(tmp_path).evidence()) == 2


def test_wrong_variant_fails_with_a_line_that_shows_it_again(capsys, tmp_path, folder):
    arguments = ("--op", "softmax", "--variant", "numpy_zeros", "--kernels-path", folder, "--results", tmp_path)
    assert verify.main([*map(str, arguments)]) == 1
    printed = capsys.readouterr().out
    code, (result,), _ = verified(capsys, *arguments)
    assert (code, result["status"], result["gate"], result["stored"]) == (1, "failed", "values", True)
    assert "y[0, 0] = 0, expected" in result["message"]
    assert result["message"] in printed
    assert result["reproduce"] in printed
    assert result["problem"] == shlex.split(result["reproduce"])[-1]
    stored, _ = Store(tmp_path).evidence()
    assert (stored.status, stored.gate, stored.reproduce) == ("failed", "values", result["reproduce"])
    line = shlex.split(result["reproduce"])[-1]
    again, (shown,), _ = verified(capsys, *arguments, "--problem", line)
    assert (again, shown["gate"], shown["message"], shown["stored"]) == (1, "values", result["message"], False)
    assert len(Store(tmp_path).evidence()) == 2


def test_file_that_does_not_load_is_a_result_and_a_failure(capsys, tmp_path, folder):
    arguments = ("--op", "global_norm", "--examples", 2, "--kernels-path", folder, "--results", tmp_path)
    code, results, _ = verified(capsys, *arguments)
    assert code == 1
    [broken] = [r for r in results if r["status"] == "unloadable"]
    assert (broken["variant"], broken["status"]) == ("numpy_broken", "unloadable")
    assert broken["message"].startswith(f"{folder / 'numpy_broken.py'}: SyntaxError")


def test_problem_of_an_op_that_is_also_a_family_is_a_problem_of_the_op(capsys, tmp_path):
    line = "N=3 C=2 O=4 seed=3 layout=offset"
    code, (result,), _ = verified(capsys, "--op", "matmul", "--variant", "numpy", "--problem", line, "--results", tmp_path)
    assert (code, result["op"], result["status"]) == (0, "matmul", "passed")


def test_one_dtype_alone_is_drawn_and_keeps_no_evidence_of_a_variant_that_takes_more(capsys, tmp_path):
    words = ("--op", "layer_nor[m]", "--variant", "numba_rows,cuda_naive", "--examples", 6, "--results", tmp_path)
    code, (result,), _ = verified(capsys, *words, "--dtype", "bfloat16")
    assert (code, result["variant"], result["status"], result["stored"]) == (0, "cuda_naive", "passed", False)
    assert verify.main([*map(str, words), "--dtype", "bfloat16"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no evidence was stored of variants with more dtypes than bfloat16: only bfloat16 was checked" in said
    assert Store(tmp_path).evidence() == []
    code, results, _ = verified(capsys, *words, "--dtype", "float32")
    assert (code, {r["variant"] for r in results}) == (0, {"numba_rows", "cuda_naive"})
    assert [e.variant for e in Store(tmp_path).evidence()] == ["numba_rows"]  # float32 is all that it takes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--op", "softmax", "--dtype", "bfloat61"], "unknown dtype 'bfloat61'; did you mean 'bfloat16'?"),
        (
            ["--op", "softmax", "--variant", "numpy", "--dtype", "bfloat16"],
            "takes it (softmax/numpy, softmax_backward/numpy); they take float32",
        ),
        (
            ["--op", "softmax", "--variant", "numpy", "--problem", "N=3 C=1 dtype=float23"],
            "unknown dtype 'float23'; did you mean",
        ),
        (["--op", "sofmax"], "unknown op 'sofmax'; did you mean 'softmax'?"),
        (["--op", "softmax", "--variant", "nunpy"], "did you mean 'numpy'?"),
        (["--op", "softmax", "--variant", "numpy", "--problem", "N=3"], "problem of softmax: no value for C"),
        (["--op", "softmax", "--variant", "numpy", "--problem", "N=3 Q=1 C=1"], "unknown word in a problem of softmax 'Q'"),
        (["--op", "softmax*", "--variant", "numpy", "--problem", "N=3 C=1"], "--problem needs one op"),
        (["--op", "softmax", "--device", "cuda"], "device 'cuda' is not available"),
        (["--op", "softmax", "--kernels-path", "nowhere"], "'nowhere' is not a folder"),
        (["--op", "softmax", "--examples", "0"], "--examples 0"),
    ],
)
def test_wrong_request_is_one_line_and_code_2(arguments, message, capsys):
    assert verify.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert message in said.err
    assert said.err.count("\n") == 1


def ran(*arguments):
    """Run pytest on the battery alone."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/kernels", "-q", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_pytest_selects_by_option_and_fails_with_the_reproducing_line(folder):
    done = ran("--op", "softmax", "--variant", "numpy*", "--kernels-path", folder, "-p", "no:xdist")
    assert done.returncode == 1
    assert "2 failed" in done.stdout  # the wrong variant, and the file that could not be loaded
    assert "--variant numpy_zeros" in done.stdout
    assert "--problem 'N=" in done.stdout
    assert "variants that could not be loaded" in done.stdout
    assert "numpy_broken.py: SyntaxError" in done.stdout
    assert "test_every_variant_file_loads" not in done.stdout


def test_pytest_selects_by_keyword():
    done = ran("-k", "numba and layer_norm", "--collect-only")
    chosen = [line for line in done.stdout.splitlines() if "::" in line]
    assert chosen
    assert all("numba" in line and "layer_norm" in line for line in chosen)


def test_pytest_refuses_a_wrong_name_in_one_line():
    done = ran("--op", "matmull")
    assert done.returncode == 4
    assert "ERROR: unknown op 'matmull'; did you mean 'matmul'?" in done.stderr
    assert "Traceback" not in done.stderr
