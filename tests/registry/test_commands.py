"""Printed commands can be pasted: a shell reads the same words."""

import argparse
import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness import verify
from harness.proof.plan import Plan
from harness.race.contestant_process import ContestantProcess
from registry import EvidenceError, Problem, discover
from registry.cli import add_kernels_path
from registry.commands import Folders, pasted
from registry.paths import RESULTS, ROOT
from registry.records import Store
from trainer.selection.missing_records import commands, proofs_on

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
PATHS = NAMES.filter(lambda name: name not in {".", ".."}).map(lambda name: Path("/some where") / name)
FOLDERS = st.lists(PATHS, max_size=2).map(tuple)


@given(words=st.lists(st.text(st.characters(exclude_characters="\0"))), paths=FOLDERS, results=PATHS | st.just(RESULTS))
def test_a_shell_reads_back_every_word_and_folder(words, paths, results):
    read = shlex.split(pasted("harness.verify", *words, folders=Folders(paths, results)))
    assert read[: 3 + len(words)] == ["python", "-m", "harness.verify", *words]
    options = argparse.ArgumentParser()
    add_kernels_path(options)
    options.add_argument("--results", type=Path, default=RESULTS)
    found = options.parse_args(read[3 + len(words) :])
    assert (tuple(found.kernels_path), found.results) == (paths, results)


@given(paths=FOLDERS, results=PATHS, seed=st.integers(0, 99))
def test_the_reproducing_line_names_the_same_problem_and_folders(paths, results, seed):
    variant, plan = discover().variant("residual", "numpy"), Plan(kernels_path=paths, results=results)
    problem = Problem("residual", {"N": 3, "C": 2}, {}, seed=seed)
    one = verify.parser().parse_args(shlex.split(plan.reproduce(variant, problem))[3:])
    assert (tuple(one.kernels_path), one.problem, one.op, one.variant) == (paths, str(problem), "residual", "numpy")
    every = verify.parser().parse_args(shlex.split(plan.reproduce(variant))[3:])
    assert (tuple(every.kernels_path), every.results, every.profile) == (paths, results, "dev")


def test_the_command_for_missing_evidence_names_the_folders_of_the_variant_and_of_the_records(tmp_path):
    folder = tmp_path / "my kernels"
    folder.mkdir()
    text = (ROOT / "kernels" / "residual" / "numba_flat.py").read_text()
    (folder / "numba_mine.py").write_text(text.replace("numba_flat", "numba_mine"))
    variant, store = discover(folder).variant("residual", "numba_mine"), Store(tmp_path / "my results")
    try:
        store.require_proof(variant)
    except EvidenceError as error:
        line = str(error).partition("make it with: ")[2]
    options = verify.parser().parse_args(shlex.split(line)[3:])
    assert (options.kernels_path, options.results, options.variant) == ([folder], tmp_path / "my results", "numba_mine")


def test_commands_that_run_in_the_project_get_folders_from_its_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = {"results": Path("r"), "kernels_path": [Path("k s")]}
    started = commands(["gelu"], {"gelu": ["numpy"]}, every_op=False, step="w", threads=1, **wanted)
    for words in [*started, *proofs_on("sim", ["gelu"], **wanted)]:
        assert words[words.index("--kernels-path") + 1] == str(tmp_path / "k s")
        assert words[words.index("--results") + 1] == str(tmp_path / "r")
    process = ContestantProcess([Path("k s")])
    assert str(tmp_path / "k s") in process.command
    process.close()


def test_a_home_folder_is_expanded_where_the_shell_does_not(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = argparse.ArgumentParser()
    add_kernels_path(options)
    assert options.parse_args(["--kernels-path=~/mine"]).kernels_path == [tmp_path / "mine"]
