"""The proofs and races whose records are missing are run with as few commands as possible."""

import shlex
import sys

import pytest

from registry.errors import CrucibleError, RequestError
from trainer.selection import child
from trainer.selection.missing_records import commands, make_champions

STEP = "gpt2-nano-b2-t32"


def test_a_machine_without_champions_is_proven_and_raced_in_two_commands(tmp_path):
    unproven = {"matmul": ["numba_packed"], "adamw": ["numba_fused"]}
    wanted = commands(["adamw", "matmul"], unproven, every_op=True, step=STEP, threads=2, results=tmp_path)
    assert [words[0] for words in wanted] == ["harness.verify", "harness.bench"]
    assert all(words[words.index("--op") + 1] == "all" for words in wanted)
    assert wanted[1][wanted[1].index("--workload") + 1] == STEP


def test_proven_variants_are_not_proven_again(tmp_path):
    wanted = commands(["adamw", "matmul"], {}, every_op=True, step=STEP, threads=2, results=tmp_path)
    assert [words[0] for words in wanted] == ["harness.bench"]


def test_a_single_op_is_proven_and_raced_alone(tmp_path):
    extra = tmp_path / "mine"
    wanted = commands(
        ["adamw", "matmul"],
        {"matmul": ["numba_packed", "numba_tiles"]},
        every_op=False,
        step=STEP,
        threads=1,
        results=tmp_path,
        kernels_path=[extra],
    )  # fmt: skip (one call)
    shown = [" ".join(words) for words in wanted]
    assert [words.split()[0] for words in shown] == ["harness.verify", "harness.bench", "harness.bench"]
    assert "--op matmul --variant numba_packed,numba_tiles" in shown[0]
    assert all(f"--results {tmp_path}" in words and f"--kernels-path {extra}" in words for words in shown)
    assert all("--threads 1" in words for words in shown[1:])


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (0, None, ""),
        (1, None, "failed; the run continues with the proven variants"),
        (3, None, "failed; the run continues with the proven variants"),
        (2, RequestError, "refused the request; its message is above"),
        (-9, CrucibleError, "was ended by signal 9"),
        (143, CrucibleError, "was ended by signal 15"),
    ],
)
def test_each_command_is_printed_for_pasting_and_so_is_its_failure(monkeypatch, tmp_path, code, error, message):
    ran, said = [], []
    monkeypatch.setattr(child, "exit_code_of", lambda words: ran.append(words) or code)
    wanted = commands(["matmul"], {}, every_op=False, step=STEP, threads=1, results=tmp_path / "with space")
    if error:
        with pytest.raises(error) as caught:
            make_champions(wanted, said.append)
        said.append(str(caught.value))
    else:
        make_champions(wanted, said.append)
    assert ran == [[sys.executable, "-m", *wanted[0]]]
    assert shlex.split(said[0]) == ["python", "-m", *wanted[0]]
    assert said[1:] == ([f"{said[0]} {message}"] if message else [])
