"""No two runs save in the same folder, no run saves over a model, and no run leaves an empty folder behind."""

import shlex
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RequestError
from registry.paths import ROOT
from trainer.state import output_folder as module
from trainer.state.model_file import FILE
from trainer.state.output_folder import output_folder

HOLDER = """
import sys
from pathlib import Path
from trainer.state import output_folder as module
module.OUT = Path(sys.argv[1])
with module.output_folder(None, "m", lambda _: None) as folder:
    print(folder.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def out(tmp_path, monkeypatch):
    """Return the parent of the folders of runs without ``--out``."""
    monkeypatch.setattr(module, "OUT", tmp_path / "out")
    return tmp_path / "out"


def silent(_):
    """Say nothing."""


def save(folder):
    """Write a model file into a folder; make the folder if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(b"a good model")


def refused(folder):
    """Return the message with which a folder is refused."""
    with pytest.raises(RequestError) as caught, output_folder(folder, "m", silent):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_run_takes_the_folder_of_its_model_without_a_word(out):
    said = []
    with output_folder(None, "m", said.append) as folder:
        assert folder == out / "m"
        assert list(folder.iterdir()) == []
    assert said == []


def test_a_later_run_takes_the_next_free_number_and_says_so(out, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("m", "m-2", "m-4"):
        save(out / name)
    said = []
    with output_folder(None, "m", said.append) as folder:
        assert folder == out / "m-3"
    assert said == ["out/m holds model.safetensors of an earlier run; this run saves in out/m-3"]
    assert {(out / name / FILE).read_bytes() for name in ("m", "m-2", "m-4")} == {b"a good model"}


def test_a_folder_without_a_model_is_free(out):
    (out / "m").mkdir(parents=True)
    (out / "m" / "notes.txt").touch()
    with output_folder(None, "m", silent) as folder:
        assert folder == out / "m"
    assert (out / "m" / "notes.txt").exists()


def test_runs_in_progress_have_a_folder_each(out):
    said = []
    with ExitStack() as stack:
        folders = [stack.enter_context(output_folder(None, "m", said.append)) for _ in range(3)]
        assert folders == [out / "m", out / "m-2", out / "m-3"]
    assert [line.partition(";")[0].endswith("m belongs to a run in progress") for line in said] == [True] * 2
    assert not out.exists()


def test_processes_that_start_together_have_a_folder_each(out):
    command = [sys.executable, "-c", HOLDER, str(out)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(4)]
        assert sorted(process.stdout.readline().strip() for process in processes) == ["m", "m-2", "m-3", "m-4"]
        for process in processes:
            process.communicate()
    assert not out.exists()


def test_the_folder_of_a_run_that_was_killed_is_free_again(out):
    command = [sys.executable, "-c", HOLDER, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline().strip() == "m"
        process.kill()
        process.communicate()
    with output_folder(None, "m", silent) as folder:
        assert folder == out / "m"


def test_where_folders_cannot_be_locked_an_existing_one_is_left_alone_unless_it_was_named(out, monkeypatch):
    def no_locks(*_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(module.fcntl, "flock", no_locks)
    (out / "m").mkdir(parents=True)
    with output_folder(None, "m", silent) as folder:
        assert folder == out / "m-2"
    with output_folder(out / "m", "m", silent) as folder:
        assert folder == out / "m"


@given(st.lists(st.sampled_from(["a", "b c", "-d", "e-2"]), min_size=1, max_size=3), st.booleans())
def test_nothing_that_was_made_is_left_empty_and_nothing_else_goes(tmp_path_factory, parts, fails):
    root = tmp_path_factory.mktemp("root")
    old = root / parts[0]
    old.mkdir()
    requested = root.joinpath(*parts)
    with suppress(ZeroDivisionError), output_folder(requested, "m", silent) as folder:
        assert folder == requested
        assert folder.is_dir()
        1 / (not fails)
    assert list(root.rglob("*")) == [old]


def test_what_was_saved_stays(tmp_path):
    with output_folder(tmp_path / "a" / "b", "m", silent) as folder:
        save(folder)
    assert (tmp_path / "a" / "b" / FILE).read_bytes() == b"a good model"


@pytest.mark.parametrize("name", ["plain", "with space", "it's"])
def test_a_folder_that_holds_a_model_is_refused_with_both_ways_out(tmp_path, name):
    folder = tmp_path / name
    save(folder)
    before = folder.stat().st_mtime_ns
    message = refused(folder)
    assert message.startswith(f"--out {shlex.quote(str(folder))} holds model.safetensors of an earlier run; save elsewhere")
    assert f"--out {shlex.quote(str(folder) + '-2')}, or delete it with: rm " in message
    assert (folder / FILE).read_bytes() == b"a good model"
    assert folder.stat().st_mtime_ns == before
    words = shlex.split(message.partition("delete it with: ")[2])
    subprocess.run(words, check=True)
    with output_folder(folder, "m", silent):
        pass


def test_the_other_folder_that_is_proposed_is_free(tmp_path):
    for name in ("a", "a-2", "a-3"):
        save(tmp_path / name)
    assert f"--out {tmp_path / 'a-4'}," in refused(tmp_path / "a")


def test_several_models_are_deleted_with_one_command(tmp_path):
    folder = tmp_path / "with space"
    save(folder)
    (folder / "other.safetensors").touch()
    command = refused(folder).partition("delete it with: ")[2]
    subprocess.run(command, shell=True, check=True)  # noqa: S602 (the user's shell is to expand it)
    assert list(folder.iterdir()) == []


def test_the_working_folder_itself_can_be_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path)
    assert f"--out {tmp_path}-2" in refused(Path())


def test_a_folder_of_a_run_in_progress_is_refused_though_it_is_empty(tmp_path):
    with output_folder(tmp_path / "a", "m", silent) as folder:
        message = refused(folder)
        assert folder.is_dir()
    assert message == f"--out {folder} belongs to a run in progress; save elsewhere with --out {folder}-2"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("file", "/file' is a file, not a folder"),
        ("file/below", "/file' is a file, not a folder"),
        ("taken", "/taken/model.safetensors' is a folder where the model would be saved"),
        ("x" * 300, "cannot be written: File name too long"),
        ("dangling", "cannot be written: No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_written_is_found_out_early(tmp_path, name, complaint):
    (tmp_path / "file").touch()
    (tmp_path / "taken" / FILE).mkdir(parents=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert complaint in refused(tmp_path / name)


def test_no_permission_is_found_out_early(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.tempfile, "NamedTemporaryFile", refuse)  # file permissions do not stop the superuser
    folder = tmp_path / "new"
    assert "cannot be written: Permission denied; give another folder" in refused(folder)
    assert not folder.exists()


def test_no_descriptor_stays_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    save(tmp_path / "full")
    for _ in range(3):
        refused(tmp_path / "full")
        with output_folder(tmp_path / "a", "m", silent):
            refused(tmp_path / "a")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
