"""pytest takes ``--kernels-path DIR`` in two words or one, from any folder, and fails where DIR's files cannot be loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.paths import ROOT
from registry.pytest_option import COPY, install, joined
from tests.registry.test_foreign import VARIANT, written

OTHERS = st.lists(st.sampled_from(["-k", "numpy_add", "-q", "--op", "residual", "-x"]), max_size=3)


@given(before=OTHERS, after=OTHERS, value=st.text(min_size=1).filter(lambda text: "\0" not in text and len(text) < 99))
def test_two_words_become_one_and_the_others_stay(before, after, value):
    one = f"--kernels-path={value}"
    assert joined([*before, "--kernels-path", value, *after], ROOT, ROOT) == [*before, one, *after]
    assert joined([*before, one, *after], ROOT, ROOT) == [*before, one, *after]


@given(words=OTHERS)
def test_other_commands_are_left_alone(words):
    assert joined(words, ROOT, Path("/")) == words


def test_the_tests_folder_is_added_if_no_path_is_inside_a_checkout(tmp_path):
    words = ["--kernels-path", "more"]
    assert joined(words, ROOT, tmp_path) == ["--kernels-path=more", str(ROOT / "tests")]
    assert joined(words, ROOT, ROOT / "tests") == ["--kernels-path=more"]
    assert joined([str(ROOT / "tests/kernels"), *words], ROOT, tmp_path) == [str(ROOT / "tests/kernels"), "--kernels-path=more"]
    assert joined(["--kernels-path"], ROOT, ROOT) == ["--kernels-path"]  # pytest reports the missing value


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder that installs the option for a child process, as ``make setup`` does for the virtual environment."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, ROOT)
    (folder / f"{COPY}.pth").rename(folder / "sitecustomize.py")  # PYTHONPATH reads no .pth files
    return folder


def ran(site, cwd, *words):
    """Run pytest in a child process."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("here", ["checkout", "elsewhere"])
@pytest.mark.parametrize("split", [True, False])
def test_the_battery_runs_on_the_folder(site, tmp_path, here, split):
    folder = written(tmp_path / "my kernels" / "numpy_add.py", VARIANT.format(name="numpy_add")).parent
    option = ("--kernels-path", folder) if split else (f"--kernels-path={folder}",)
    done = ran(site, ROOT if here == "checkout" else tmp_path, *option, "--op", "residual", "-k", "numpy_add")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("words", [["--variant", "numba_naive"], ["--variant", "numpy_oops"]])
def test_an_unloadable_file_is_refused_if_the_user_names_it(site, tmp_path, words):
    taken = written(tmp_path / "my kernels" / "numba_naive.py", VARIANT.format(name="numba_naive"))
    oops = written(taken.parent / "numpy_oops.py", "raise SystemExit(0)")
    done = ran(site, ROOT, "--kernels-path", taken.parent, "--op", "residual", *words)
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert str(taken if "numba_naive" in words else oops) in line


@pytest.mark.parametrize(
    ("keyword", "code"),
    [("numba_flat", 1), ("numba_fl or numpy_add", 1), ("numpy_add", 0), ("not numba_flat and numpy_add", 0)],
)
def test_an_unloadable_file_that_the_keyword_selects_fails_the_run(site, tmp_path, keyword, code):
    folder = written(tmp_path / "numba_flat.py", VARIANT.format(name="numba_flat")).parent
    written(folder / "numpy_add.py", VARIANT.format(name="numpy_add"))
    done = ran(site, ROOT, "--kernels-path", folder, "--op", "residual", "-k", keyword)
    assert (done.returncode, "is taken by" in done.stdout) == (code, True), done.stdout + done.stderr
