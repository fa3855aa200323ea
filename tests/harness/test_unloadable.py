"""Every command of the harness names a foreign file that gives no variant, and takes no other variant in its place."""

import json

import pytest

from harness import bench, inspect, verify
from registry.paths import KERNELS
from tests.registry.test_foreign import VARIANT, written


@pytest.fixture
def folder(tmp_path):
    """Make a folder with a taken name, a file that ends the process, and one that registers nothing."""
    folder = tmp_path / "my kernels"
    written(folder / "numba_flat.py", VARIANT.format(name="numba_flat"))
    written(folder / "residual" / "cuda_naive.py", VARIANT.format(name="cuda_naive"))
    written(folder / "numpy_ends.py", "raise SystemExit(3)")
    written(folder / "numpy_forgot.py", "")
    return folder


COMMANDS = [
    (verify, "numba_flat"),
    (verify, "numpy_ends"),
    (bench, "numba_flat"),
    (bench, "numpy_forgot"),
    (inspect, "cuda_naive"),
]


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_a_name_whose_file_is_not_loaded_is_refused_with_the_reason(command, name, folder, tmp_path, capsys):
    words = ["--op", "residual", "--variant", name, "--kernels-path", str(folder)]
    assert command.main([*words, *(() if command is inspect else ("--results", str(tmp_path)))]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: variant '{name}'")
    assert printed.count("\n") == 1
    assert f"{name}.py" in printed
    if name in {"numba_flat", "cuda_naive"}:
        assert str(KERNELS / "residual" / f"{name}.py") in printed


def test_a_glob_proves_the_others_and_reports_the_file(folder, tmp_path, capsys):
    words = ["--op", "residua[l]", "--variant", "numba_fla*", "--examples", "6", "--json"]
    assert verify.main([*words, "--kernels-path", str(folder), "--results", str(tmp_path)]) == 1
    said = capsys.readouterr()
    proof, failed = json.loads(said.out)["results"]
    assert (proof["variant"], proof["status"]) == ("numba_flat", "passed")
    assert (failed["variant"], failed["status"]) == ("numba_flat", "unloadable")
    assert str(KERNELS / "residual" / "numba_flat.py") in failed["message"]
    assert failed["message"].startswith(f"{folder / 'numba_flat.py'}: ")


def test_a_race_says_first_what_is_not_in_it(folder, tmp_path, capsys):
    assert bench.main(["--op", "residua[l]", "--kernels-path", str(folder), "--results", str(tmp_path / "r s")]) == 2
    *printed, error = capsys.readouterr().err.splitlines()
    names = {"numba_flat", "residual/cuda_naive", "numpy_ends", "numpy_forgot"}
    assert {line.partition(".py: ")[0] for line in printed} == {f"not loadable: {folder / name}" for name in names}
    assert error.endswith(f"--kernels-path '{folder}' --results '{tmp_path / 'r s'}'")
