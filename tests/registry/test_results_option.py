"""``--results FILE`` is refused before a command does any work, so that no measurement is lost."""

import importlib

import pytest

COMMANDS = {
    "harness.verify": ["--op", "gelu"],
    "harness.bench": ["--op", "gelu"],
    "harness.leaderboard": [],
    "harness.explain": ["--op", "gelu"],
    "harness.check_shapes": ["--op", "gelu"],
    "harness.gpu_check": [],
    "trainer.run": ["--steps", "1"],
    "benchmarks.step": [],
    "benchmarks.equality_124m": [],
}


@pytest.mark.parametrize("module", COMMANDS)
def test_a_file_is_refused_and_kept(module, tmp_path, capsys):
    file = tmp_path / "board.json"
    file.write_text("mine")
    assert importlib.import_module(module).main([*COMMANDS[module], f"--results={file}"]) == 2
    assert f"{str(file)!r} is a file, not a folder of records" in capsys.readouterr().err
    assert file.read_text() == "mine"
