"""A resumed run continues a stopped run with the same bits, and refuses a folder or a checkpoint that it cannot continue."""

import json
import shutil
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.trainer.tiny import PICO
from trainer import run, session
from trainer.state import background
from trainer.state.background import BackgroundWriter
from trainer.state.checkpoints import checkpoints_in

STEPS = 6


@pytest.fixture
def words(pico, monkeypatch):
    """Return the command line of a run of six steps with a checkpoint after each; a later ``--out`` names its folder."""
    monkeypatch.setattr(BackgroundWriter, "busy", False)  # otherwise a slow disk leaves checkpoints out
    return [*pico, f"--steps={STEPS}", "--checkpoint-every=1", "--keep=100"]


@pytest.fixture
def stop_after(monkeypatch):
    """Return a function that stops the next run by a signal after a step."""
    original = session.ProgressBar.stepped

    def plant(step, number=signal.SIGINT):
        def stepped(self, update):
            original(self, update)
            if update.step == step:
                signal.raise_signal(number)

        monkeypatch.setattr(session.ProgressBar, "stepped", stepped)

    return plant


def log(folder):
    """Return the lines of a log without their times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def state(folder):
    """Return the tensors of the newest checkpoint as bytes."""
    tensors = load_file(checkpoints_in(folder / "checkpoints")[0] / "state.safetensors")
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("dtype", "steps", "step"), [("float32", 6, 1), ("float32", 6, 3), ("float32", 6, 5), ("bfloat16", 2, 1)]
)
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(words, tmp_path, stop_after, capsys, dtype, steps, step):
    words = [*words, f"--dtype={dtype}", f"--steps={steps}"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run.main([*words, f"--out={whole}"]) == 0
    stop_after(step)
    assert run.main([*words, f"--out={parts}"]) == 130
    stop_after(0)
    capsys.readouterr()
    assert run.main(["--resume", f"--out={parts}", "--json"]) == 0
    shown = capsys.readouterr()
    assert f"resuming after step {step}" in shown.err
    assert "; bit-equal to an uninterrupted run" in shown.err
    result = json.loads(shown.out)
    assert result["steps"] == steps
    assert len(result["train_loss"]) == steps
    assert result["train_loss"] == [line["loss"] for line in log(whole) if "loss" in line]
    assert log(parts) == log(whole)
    assert state(parts) == state(whole)
    assert load_file(parts / "model.safetensors").keys() == load_file(whole / "model.safetensors").keys()
    for name, tensor in load_file(whole / "model.safetensors").items():
        np.testing.assert_array_equal(load_file(parts / "model.safetensors")[name], tensor, err_msg=name)


def test_any_checkpoint_can_be_chosen_and_later_steps_are_made_again(words, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run.main([*words, f"--out={folder}"]) == 0
    before = log(folder), state(folder)
    assert run.main(["--resume", "step-00000002", f"--out={folder}"]) == 0
    assert "resuming after step 2" in capsys.readouterr().err
    assert (log(folder), state(folder)) == before


@pytest.mark.parametrize("file", ["state.safetensors", "checkpoint.json"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(words, tmp_path, capsys, file):
    folder = tmp_path / "out"
    assert run.main([*words, f"--out={folder}"]) == 0
    before = state(folder)
    (folder / "model.safetensors").unlink()  # otherwise the run is complete
    newest = checkpoints_in(folder / "checkpoints")[0] / file
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    capsys.readouterr()
    assert run.main(["--resume", newest.parent.name, f"--out={folder}"]) == 2
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert str(newest) in refusal
    assert refusal.endswith(f"the newest good one: python -m trainer.run --resume step-00000005 --out {folder}")
    assert run.main(["--resume", f"--out={folder}"]) == 0
    said = capsys.readouterr().err
    assert f"{str(newest)!r} is damaged" in said
    assert "resuming after step 5" in said
    assert state(folder) == before


def test_a_run_that_holds_checkpoints_is_refused_with_both_ways_out(words, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run.main([*words, f"--out={folder}"]) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run.main([*words, f"--out={folder}"]) == 2
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert f"--out {tmp_path / 'out-2'}" in refusal
    assert f"continue that run with: python -m trainer.run --resume --out {folder}" in refusal
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_another_condition_is_said_to_change_the_bits(words, tmp_path, stop_after, capsys):
    folder = tmp_path / "out"
    stop_after(3)
    assert run.main([*words, "--threads=1", f"--out={folder}"]) == 130
    stop_after(0)
    assert run.main(["--resume", f"--out={folder}", "--learning-rate=0.001", "--batch=1"]) == 0
    said = capsys.readouterr().err
    assert "its bits may differ from those of an uninterrupted run: batch 2 -> 1; learning_rate 0.01 -> 0.001" in said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model=gpt2-nano"], "--model gpt2-nano: the run in "),
        (["--dtype=bfloat16"], "leave --dtype out"),
        (["--seed=7"], "has seed 42; leave --seed out"),
    ],
)
def test_a_resumed_run_keeps_its_model_dtype_and_seed(words, tmp_path, capsys, more, message):
    folder = tmp_path / "out"
    assert run.main([*words, "--steps=1", f"--out={folder}"]) == 0
    assert run.main(["--resume", f"--out={folder}", *more]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_complete_run_is_continued_only_with_more_steps(words, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run.main([*words, "--steps=2", f"--out={folder}"]) == 0
    assert run.main(["--resume", f"--out={folder}"]) == 2
    assert f"continue with more: python -m trainer.run --resume --out {folder} --steps 4" in capsys.readouterr().err
    assert run.main(["--resume", f"--out={folder}", "--steps=4"]) == 0
    assert [line["step"] for line in log(folder) if "loss" in line] == [1, 2, 3, 4]


def test_nothing_to_resume_is_one_line(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "OUT", tmp_path / "empty")
    assert run.main(["--resume"]) == 2
    assert "there is no run to resume" in capsys.readouterr().err
    assert run.main(["--resume", f"--out={tmp_path}"]) == 2
    assert capsys.readouterr().err == f"error: cannot resume from {str(tmp_path)!r}: No such file or directory: settings.toml\n"
    folder = tmp_path / "out"
    assert run.main([*words, f"--out={folder}"]) == 0
    assert run.main(["--resume", "step-00000099", f"--out={folder}"]) == 2
    assert "unknown checkpoint 'step-00000099'" in capsys.readouterr().err
    shutil.rmtree(folder / "checkpoints")
    assert run.main(["--resume", f"--out={folder}"]) == 2
    assert "has no checkpoint to resume from" in capsys.readouterr().err


def test_the_newest_run_is_resumed_without_a_folder(words, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "OUT", tmp_path / "out")
    assert run.main([*words, "--steps=2", f"--out={tmp_path / 'out' / 'one'}"]) == 0
    assert run.main(["--resume", "--steps=3"]) == 0
    assert [line["step"] for line in log(tmp_path / "out" / "one") if "loss" in line] == [1, 2, 3]


def test_a_full_disk_costs_checkpoints_but_not_the_run(words, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "out"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(background, "write", full)
    assert run.main([*words, f"--out={folder}"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cannot write the checkpoint")]
    assert len(said) == STEPS
    assert all("No space left on device" in line for line in said)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the references warn of the provoked overflow
def test_a_diverged_run_names_the_checkpoint_and_the_command(words, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run.main([*words, "--steps=2", f"--out={folder}"]) == 0
    assert run.main(["--resume", f"--out={folder}", "--steps=6", "--learning-rate=1e38"]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    newest = checkpoints_in(folder / "checkpoints")[0]
    assert f"the newest checkpoint is {newest}" in message
    assert message.endswith(f"python -m trainer.run --resume {newest.name} --out {folder} --learning-rate 5e+37")


def test_settings_hold_every_option(words, tmp_path):
    folder = tmp_path / "out"
    assert run.main([*words, f"--out={folder}"]) == 0
    text = (folder / "settings.toml").read_text()
    assert f'model = "{PICO.name}"' in text
    assert "checkpoint_every = 1" in text
    assert 'attention = "numpy"' in text
    assert '"attention/numpy" = ' in text


def test_later_checkpoints_of_an_abandoned_branch_are_moved_aside(words, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run.main([*words, f"--out={folder}", "--keep=100"]) == 0
    assert run.main(["--resume", "step-00000002", f"--out={folder}", "--steps=4", "--keep=2"]) == 0
    assert f"moved the checkpoints after step 2 to {folder / 'checkpoints' / 'later'}" in capsys.readouterr().err
    assert [path.name for path in checkpoints_in(folder / "checkpoints")] == ["step-00000004", "step-00000003"]
    assert sorted(path.name for path in (folder / "checkpoints" / "later").iterdir()) == [f"step-{n:08d}" for n in (3, 4, 5, 6)]
    assert run.main(["--resume", f"--out={folder}", "--steps=5"]) == 0
    assert "resuming after step 4" in capsys.readouterr().err


def test_an_empty_name_of_a_checkpoint_begins_no_new_run(words, tmp_path, capsys):
    folder = tmp_path / "out"
    assert run.main([*words, "--steps=1", f"--out={folder}"]) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run.main(["--resume", "", f"--out={folder}"]) == 2
    assert "'' names no checkpoint" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_model_that_was_not_saved_is_saved_by_a_resumed_run(words, tmp_path):
    folder = tmp_path / "out"
    assert run.main([*words, f"--out={folder}"]) == 0
    before = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    assert run.main(["--resume", f"--out={folder}"]) == 0
    after = load_file(folder / "model.safetensors")
    assert len(before) > 0
    assert {name: tensor.tobytes() for name, tensor in after.items()} == {
        name.removeprefix("parameters/"): tensor for name, tensor in state(folder).items() if name.startswith("parameters/")
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch = 2", "", "batch is None, expected int"),
        ("batch = 2", 'batch = "two"', "batch is 'two', expected int"),
        ("kernels_path = []", "kernels_path = [1]", "kernels_path is [1], expected list"),
        ("checkpoint_every = 1", "checkpoint_every = [2]", "checkpoint_every is [2], expected int"),
        ("batch = 2", "batch = 2\nfuture = 1", "does not know: future"),
        ("schema = 1", "schema = 99", "a later version of Crucible"),
        ("schema = 1", "schema = [", "is damaged"),
        ("[kernels]", "[kernel]", "needs schema = 1 and the tables settings, kernels, sources"),
    ],
)
def test_damaged_settings_are_one_line(words, tmp_path, capsys, old, new, message):
    folder = tmp_path / "out"
    assert run.main([*words, "--steps=1", f"--out={folder}"]) == 0
    file = folder / "settings.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    capsys.readouterr()
    assert run.main(["--resume", f"--out={folder}", "--steps=2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert str(file) in line


def test_files_of_a_user_in_the_folder_are_neither_overwritten_nor_deleted(words, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "settings.toml").write_text("mine")
    assert run.main([*words, f"--out={folder}"]) == 2
    assert "holds settings or the log of an earlier run" in capsys.readouterr().err
    assert (folder / "settings.toml").read_text() == "mine"
