"""A run that was killed, or that continues on another number of ranks, ends with the model of an uninterrupted run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from registry.paths import ROOT
from tests.trainer.ranks.test_process_group import MODULE, torchrun
from trainer.state.checkpoints import checkpoints_in

TEXT = "To be, or not to be, that is the question.\n\n" * 200
STEPS = 12
KILLS = 4


@pytest.fixture
def words(tmp_path):
    """Return the arguments of a run of twelve steps with a checkpoint after each."""
    (tmp_path / "text.txt").write_text(TEXT)
    options = {"kernels": "numpy", "data": tmp_path / "text.txt", "results": tmp_path / "results", "threads": 1}
    return [f"--steps={STEPS}", "--checkpoint-every=1", *(f"--{name}={value}" for name, value in options.items())]


def model(folder):
    """Return the tensors of a saved model as bytes."""
    return {name: tensor.tobytes() for name, tensor in load_file(folder / "model.safetensors").items()}


def losses(folder):
    """Return the training losses of a log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_ranks_resume_with_the_same_bits_and_one_rank_continues_closely(words, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert torchrun([*words, "--batch=1", f"--out={whole}"]).returncode == 0
    stopped = torchrun([*words, "--batch=1", f"--out={parts}", "--steps=6", "--keep=9"])
    assert stopped.returncode == 0, stopped.stderr
    results = f"--results={tmp_path / 'results'}"
    resumed = torchrun([results, "--resume", "step-00000003", f"--out={parts}", f"--steps={STEPS}"])
    assert resumed.returncode == 0, resumed.stderr
    assert "its bits may differ from those of an uninterrupted run: steps 6 -> 12" in resumed.stderr  # another schedule
    before = model(whole), losses(whole)
    (whole / "model.safetensors").unlink()
    again = torchrun([results, "--resume", "step-00000011", f"--out={whole}"])
    assert "; bit-equal to an uninterrupted run" in again.stderr
    assert (model(whole), losses(whole)) == before
    alone = torchrun([results, "--resume", "step-00000011", f"--out={whole}"], ranks=1)
    assert alone.returncode == 0, alone.stderr
    assert "its bits may differ from those of an uninterrupted run: batch 1 -> 2; ranks 2 -> 1" in alone.stderr
    np.testing.assert_allclose(losses(whole), before[1], rtol=1e-5)


def killed(words, folder, after):
    """Run a process until it ends or is killed; return its exit code. Continue the run in `folder` if it has a checkpoint."""
    if checkpoints_in(folder / "checkpoints"):
        words = [*words, "--resume"]
    elif folder.exists():  # the process before was killed before its first checkpoint
        shutil.rmtree(folder)
    command = [sys.executable, "-m", MODULE, *words, f"--out={folder}"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_killed_at_any_moment_ends_with_the_bits_of_an_uninterrupted_one(words, tmp_path, seed):
    words, whole, parts = [*words, "--steps=40"], tmp_path / "whole", tmp_path / "parts"
    assert torchrun([*words, f"--out={whole}"], ranks=1).returncode == 0
    moments = random.Random(seed)
    codes = [killed(words, parts, moments.uniform(1, 3)) for _ in range(KILLS)]
    if 0 not in codes:
        codes.append(killed(words, parts, None))
    ends = codes.index(0)
    assert set(codes[:ends]) <= {-signal.SIGKILL}
    assert model(parts) == model(whole)
    assert losses(parts) == losses(whole)
    assert not list((parts / "checkpoints").glob(".*"))


def test_a_reader_that_ends_early_does_not_cost_the_model(words, tmp_path):
    command = [sys.executable, "-m", MODULE, *words, f"--out={tmp_path / 'out'}"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.stderr.readline()
    process.stderr.close()  # as ``2>&1 | head -1`` does
    assert process.wait() == 0
    assert (tmp_path / "out" / "model.safetensors").exists()
