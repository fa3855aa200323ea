"""A checkpoint is read back bit for bit, or refused in one line. An interrupted write leaves older checkpoints as they were."""

import errno
import json
import zlib
from threading import Event, Thread

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from registry.devices import Cpu
from trainer.state import background, checkpoints
from trainer.state.background import BackgroundWriter
from trainer.state.checkpoints import CheckpointError, checkpoints_in, delete_drafts, prune, read, write

CPU = Cpu()
PROGRESS = {"loader": {"state": 2**100, "text": "naïve"}, "losses": [1.5, 0.1]}
DTYPES = [np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)]


def state(value=1.0):
    return {
        "parameters/wte": np.full((3, 4), value, np.float32),
        "moments/wte": np.arange(12, dtype=np.float32).reshape(3, 4) * value,
        "parameters/ln": np.full(5, value, ml_dtypes.bfloat16),
    }


def empty():
    return {name: np.zeros_like(array) for name, array in state().items()}


def same(one, other):
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


bits = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays(np.dtype(f"u{dtype.itemsize}"), array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)).map(
        lambda array: array.view(dtype)
    )
)


@given(tensors=st.dictionaries(st.text("abc/_0", min_size=1), bits, min_size=1, max_size=4), step=st.integers(0, 10**9))
def test_any_bits_are_read_back(tmp_path_factory, tensors, step):
    path = write(tmp_path_factory.mktemp("run"), "m", step, tensors, PROGRESS)
    filled = {name: np.zeros_like(array) for name, array in tensors.items()}
    assert read(path, "m", filled, CPU) == PROGRESS
    assert same(filled, tensors)
    assert checkpoints_in(path.parent) == [path]
    assert (path / checkpoints.STATE).stat().st_mode == (path / checkpoints.ABOUT).stat().st_mode


def outcome(path):
    filled = empty()
    try:
        progress = read(path, "m", filled, CPU)
    except CheckpointError as error:
        message = str(error)
        return "refused in one line" if str(path) in message and "\n" not in message else message
    return "read back" if progress == PROGRESS and same(filled, state()) else f"wrong contents: {progress} {filled}"


@given(data=st.data())
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, data):
    path = tmp_path / "step-00000007"
    if not path.exists():
        write(tmp_path, "m", 7, state(), PROGRESS)
    file = path / data.draw(st.sampled_from([checkpoints.STATE, checkpoints.ABOUT]))
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "drop", "other", "gone"]))
    flipped = whole[:at] + bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[at + 1 :]
    damaged = {
        "flip": flipped,
        "cut": whole[:at],
        "insert": whole[:at] + data.draw(st.binary(min_size=1, max_size=9)) + whole[at:],
        "drop": whole[:at] + whole[at + 1 :],
        "other": data.draw(st.binary(max_size=64)),
        "gone": None,
    }[kind]
    try:
        file.unlink() if damaged is None else file.write_bytes(damaged)
        assert outcome(path) in ("read back", "refused in one line")
    finally:
        file.write_bytes(whole)


def rewritten(path, **changes):
    """Rewrite ``checkpoint.json`` with a right checksum, as a later version would write it."""
    file = path / checkpoints.ABOUT
    about = json.loads(file.read_text().splitlines()[0]) | changes
    line = json.dumps(about)
    file.write_text(f"{line}\n{zlib.crc32(line.encode())}\n")


def test_the_message_names_the_cause(tmp_path):
    path = write(tmp_path, "m", 7, state(), PROGRESS)
    with pytest.raises(CheckpointError, match="is a checkpoint of m, not of gpt2-micro"):
        read(path, "gpt2-micro", empty(), CPU)
    with pytest.raises(CheckpointError, match="lacks the tensors moments/other"):
        read(path, "m", empty() | {"moments/other": np.zeros(2)}, CPU)
    with pytest.raises(CheckpointError, match="also has the tensors moments/wte"):
        read(path, "m", {name: array for name, array in empty().items() if name != "moments/wte"}, CPU)
    with pytest.raises(CheckpointError, match=r"'parameters/ln' has shape \(5,\), this run needs \(6,\)"):
        read(path, "m", empty() | {"parameters/ln": np.zeros(6, ml_dtypes.bfloat16)}, CPU)
    with pytest.raises(CheckpointError, match="'parameters/ln' is bfloat16, this run needs float32"):
        read(path, "m", empty() | {"parameters/ln": np.zeros(5, np.float32)}, CPU)
    with pytest.raises(CheckpointError, match="the folder was renamed"):
        read(path.rename(tmp_path / "step-00000008"), "m", empty(), CPU)
    with pytest.raises(CheckpointError, match="No such file"):
        read(path, "m", empty(), CPU)
    later = write(tmp_path, "m", 9, state(), PROGRESS)
    rewritten(later, schema=checkpoints.SCHEMA + 1)
    with pytest.raises(CheckpointError, match="a later version of Crucible"):
        read(later, "m", empty(), CPU)
    rewritten(later, schema=checkpoints.SCHEMA, progress=None)
    with pytest.raises(CheckpointError, match="is no description of a checkpoint"):
        read(later, "m", empty(), CPU)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        read(tmp_path / "best", "m", empty(), CPU)


class Stopped(BaseException):
    """Stands for the end of the process: no handler of an ordinary exception sees it."""


@pytest.mark.parametrize("failure", [Stopped(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("operation", ["save_file", "_flush", "_sealed"])
def test_an_interrupted_write_leaves_the_older_checkpoint(tmp_path, monkeypatch, operation, failure):
    older = write(tmp_path, "m", 1, state(1.0), PROGRESS)

    def fails(*_):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, operation, fails)
        with pytest.raises(type(failure)):
            write(tmp_path, "m", 2, state(2.0), PROGRESS)
    filled = empty()
    assert checkpoints_in(tmp_path) == [older]
    assert read(older, "m", filled, CPU) == PROGRESS
    assert same(filled, state(1.0))
    assert [path.name for path in tmp_path.iterdir()] == [older.name]


def test_drafts_of_a_killed_process_are_no_checkpoints_and_are_deleted(tmp_path):
    (tmp_path / ".draft-00000003").mkdir()
    (tmp_path / ".draft-00000003" / checkpoints.STATE).write_bytes(b"half")
    assert checkpoints_in(tmp_path) == []
    delete_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(steps=st.sets(st.integers(0, 40), min_size=1, max_size=8), keep=st.integers(1, 4), every=st.none() | st.integers(1, 10))
def test_pruning_keeps_the_newest_and_every_nth(tmp_path_factory, steps, keep, every):
    folder = tmp_path_factory.mktemp("run")
    for step in steps:
        (folder / f"step-{step:08d}").mkdir()
    prune(folder, keep, every)
    newest = sorted(steps)[-keep:]
    kept = {step for step in steps if step in newest or (every and step % every == 0)}
    assert {checkpoints.step_of(path) for path in checkpoints_in(folder)} == kept
    assert not list(folder.glob(".*"))


def writer(folder, tensors, said, keep=2):
    return BackgroundWriter(folder, "m", tensors, device=CPU, keep=keep, keep_every=None, say=said.append)


def test_the_background_writer_stores_the_state_of_the_step_that_it_was_given(tmp_path):
    live, said = state(1.0), []
    written = writer(tmp_path, live, said)
    for step in (1, 2, 3):
        written.begin(step, {"step": step})
        written.wait_copied()
        for array in live.values():
            array[...] = array + 1  # the update of the next step, while the thread writes
    written.finish()
    assert said == []
    assert [checkpoints.step_of(path) for path in checkpoints_in(tmp_path)] == [3, 2]
    filled = empty()
    assert read(checkpoints_in(tmp_path)[0], "m", filled, CPU) == {"step": 3}
    assert filled["parameters/wte"][0, 0] == 3.0


def test_the_training_waits_for_the_copy(tmp_path):
    released, copied = Event(), []

    class Slow(Cpu):
        """A device that is read only after the event."""

        def get(self, array):
            """Return the array when the event is set."""
            released.wait()
            copied.append(array)
            return array

    tensors = state()
    slow = BackgroundWriter(tmp_path, "m", tensors, device=Slow(), keep=2, keep_every=None, say=print)
    slow.begin(1, {})
    Thread(target=released.set).start()
    slow.wait_copied()
    assert len(copied) == len(tensors)
    slow.finish()


def test_a_copy_that_fails_is_no_checkpoint(tmp_path):
    class Broken(Cpu):
        """A device whose memory cannot be read."""

        def get(self, _):
            """Fail."""
            raise MemoryError("no memory")

    said = []
    broken = BackgroundWriter(tmp_path, "m", state(), device=Broken(), keep=2, keep_every=None, say=said.append)
    broken.begin(1, {})
    broken.wait_copied()
    broken.finish()
    assert checkpoints_in(tmp_path) == []
    assert said == ["cannot write the checkpoint of step 1: MemoryError: no memory; this process has written none yet"]


def test_a_full_disk_is_reported_at_every_attempt_and_the_older_checkpoint_stays(tmp_path, monkeypatch):
    said = []
    written = writer(tmp_path, state(), said)
    written.begin(1, {})
    written.finish()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(background, "write", full)
        for step in (2, 3):
            written.begin(step, {})
        written.finish()
    assert [line.partition(":")[0] for line in said] == [f"cannot write the checkpoint of step {step}" for step in (2, 3)]
    assert all("No space left on device" in line and "step-00000001" in line for line in said)
    written.begin(4, {})
    written.finish()
    assert [checkpoints.step_of(path) for path in checkpoints_in(tmp_path)] == [4, 1]
