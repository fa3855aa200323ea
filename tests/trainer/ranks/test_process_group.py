"""Several processes train one model like one process with all their rows. A failed process ends all, with one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.machine import thread_count
from registry.paths import ROOT
from tests.trainer.tiny import TINY
from trainer import run
from trainer.data.loader import Loader
from trainer.ranks.interface import SINGLE_PROCESS, SingleProcess
from trainer.ranks.process_group import joined
from trainer.settings import Settings
from trainer.state.model_file import saved_in

TEXT = "To be, or not to be, that is the question.\n\n" * 200
MODULE = "tests.trainer.pico_run"


@pytest.fixture
def words(tmp_path):
    """Return the arguments of a run, without its size."""
    (tmp_path / "text.txt").write_text(TEXT)
    given = {"kernels": "numpy", "data": tmp_path / "text.txt", "out": tmp_path / "out", "results": tmp_path / "results"}
    return ["--json", *(f"--{name}={value}" for name, value in given.items())]


def torchrun(words, ranks=2, fault="", module=MODULE):
    """Train with `ranks` processes that torchrun starts, or with one process without torchrun."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"] if ranks > 1 else []
    command = [sys.executable, "-m", *launcher, module, *words]
    environment = {**os.environ, "PICO_FAULT": fault}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def parameters(folder, rank=0):
    """Return the parameters of a rank after the training."""
    with np.load(folder / f"rank{rank}.npz") as file:
        return dict(file)


def failures(done):
    """Return the error lines of the project on standard error."""
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.sampled_from([None, 7]), st.integers(1, 6), st.integers(0, 20)
)
def test_the_loaders_of_all_ranks_return_the_rows_of_one_loader(ranks, batch, sequence, seed, batches, more):
    tokens = np.arange(ranks * batch * sequence + 1 + more, dtype=np.uint16)
    whole = Loader(tokens, ranks * batch, sequence, seed)
    parts = [Loader(tokens, batch, sequence, seed, rank, ranks) for rank in range(ranks)]
    assert {part.batches for part in parts} == {whole.batches}
    for _ in range(batches):
        dealt = zip(*(part.next_batch() for part in parts), strict=True)
        for rows, expected in zip(dealt, whole.next_batch(), strict=True):
            np.testing.assert_array_equal(np.concatenate(rows), expected)


def test_two_ranks_train_as_one_process_with_twice_the_rows(words, tmp_path):
    halves = torchrun([*words, "--batch=2", "--total-batch=128"])
    assert halves.returncode == 0, halves.stderr
    document = json.loads(halves.stdout)
    first, second = (parameters(tmp_path / "out", rank) for rank in (0, 1))
    for name, tensor in first.items():
        np.testing.assert_array_equal(second[name], tensor, err_msg=name)

    alone = tmp_path / "alone"
    whole = torchrun([*words, "--batch=4", "--total-batch=128", f"--out={alone}"], ranks=1)
    expected = json.loads(whole.stdout)
    assert (document["ranks"], expected["ranks"], document["steps"]) == (2, 1, 4)
    assert document["kernels"] == expected["kernels"]
    np.testing.assert_allclose(document["train_loss"], expected["train_loss"], rtol=1e-5)
    np.testing.assert_allclose(document["val_loss"], expected["val_loss"], rtol=1e-5)
    for name, tensor in parameters(alone).items():
        np.testing.assert_allclose(first[name], tensor, rtol=1e-3, atol=1e-5, err_msg=name)


def test_two_ranks_add_up_bfloat16_gradients_and_end_with_the_same_weights(words, tmp_path):
    done = torchrun([*words, "--dtype=bfloat16", "--batch=2"])
    assert done.returncode == 0, done.stderr
    first, second = (parameters(tmp_path / "out", rank) for rank in (0, 1))
    for name, tensor in first.items():
        np.testing.assert_array_equal(second[name], tensor, err_msg=name)
    whole = torchrun([*words, "--batch=4", f"--out={tmp_path / 'alone'}"], ranks=1)
    document, alone = json.loads(done.stdout), json.loads(whole.stdout)
    assert (document["dtype"], alone["dtype"], first["wte"].dtype) == ("bfloat16", "float32", np.float32)
    np.testing.assert_allclose(document["train_loss"], alone["train_loss"], rtol=1e-2)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            "loss",
            "error: rank 1: step 1: the validation loss is nan; adamw (fcb) in the step before first left a non-finite value",
        ),
        ("gradients", "step 2: the norm of the gradients is inf; matmul_backward_bias/fc (layer 0) on rank 1 first left"),
    ],
)
def test_a_rank_that_fails_ends_all_in_one_line_and_no_model_is_saved(words, tmp_path, fault, line):
    done = torchrun(words, fault=fault)
    assert done.returncode != 0
    assert len(failures(done)) == 1, done.stderr
    assert line in failures(done)[0]
    assert saved_in(tmp_path / "out") == []


def test_a_rank_that_dies_takes_the_others_with_it(words, tmp_path):
    done = torchrun(words, fault="death")
    assert done.returncode != 0
    line = "error: rank 0: another process of the run is gone or cannot be reached ("
    assert all(said.startswith(line) for said in failures(done)), (
        done.stderr
    )  # torchrun may end rank 0 before rank 0 prints its error
    assert saved_in(tmp_path / "out") == []


def test_ctrl_c_in_any_rank_stops_all_after_the_same_step_and_saves(words, tmp_path):
    done = torchrun(words, fault="interrupt")
    saved = tmp_path / "out" / "model.safetensors"
    assert f"interrupted after step 1 of 4; saved {saved}" in done.stderr
    assert saved.exists()
    assert [parameters(tmp_path / "out", rank)["steps"] for rank in (0, 1)] == [1, 1]
    assert failures(done) == []


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            "--total-batch=96",
            "error: rank 0: --total-batch 96 is no multiple of batch x sequence x ranks = 2 x 16 x 2 = 64; nearest: 64 or 128",
        ),
        ("--batch=300", "error: rank 0: --data"),
    ],
)
def test_a_wrong_request_is_reported_once(words, more, line):
    done = torchrun([*words, more])
    assert done.returncode != 0
    assert len(failures(done)) == 1, done.stderr
    assert failures(done)[0].startswith(line)


def test_a_folder_that_holds_a_model_is_refused_once_and_nothing_in_it_changes(words, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_bytes(b"a good model")
    done = torchrun(words)
    assert done.returncode != 0
    assert len(failures(done)) == 1, done.stderr
    assert failures(done)[0].startswith(f"error: rank 0: --out {tmp_path / 'out'} holds model.safetensors of an earlier run")
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"a good model"]


def test_a_plan_is_shown_once_and_ends_all_ranks(words):
    done = torchrun([*words, "--plan"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plan_mib"]["total"] > 0
    assert done.stderr.count("One arena") == 1


def test_cores_are_shared_among_the_ranks_of_a_machine_unless_threads_are_given():
    process = SingleProcess()
    process.local_count = 2
    assert run.settings_of(run.parser().parse_args([]), process).threads == max(1, thread_count() // 2)
    assert run.settings_of(run.parser().parse_args(["--threads=1"]), process).threads == 1
    process.local_count = 10_000
    assert run.settings_of(run.parser().parse_args([]), process).threads == 1


def test_tokens_of_an_update_count_those_of_all_ranks():
    chosen = Settings(model=TINY, batch=3, sequence=16, total_batch=192, ranks=2)
    assert (chosen.tokens_per_micro_step, chosen.micro_steps) == (96, 2)


def test_a_process_that_torchrun_did_not_start_is_alone():
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}):
        with joined(environment) as ranks:
            assert ranks is SINGLE_PROCESS


def test_half_an_environment_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "first")
    assert run.main([]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: WORLD_SIZE is 2, but RANK='first', LOCAL_RANK=''")
    assert "torchrun" in shown
    assert shown.count("\n") == 1
