"""A recorder begins a checkpoint when one is due, and leaves one out while the one before is being written."""

import pytest

from trainer.state.log_file import LogFile
from trainer.state.recorder import RunRecorder


class Writer:
    """A stand-in for the writer that keeps the steps of its checkpoints."""

    def __init__(self):
        self.busy, self.steps, self.finished = False, [], 0

    def begin(self, step, progress):
        """Keep the step."""
        assert progress["loader"] == {"position": step}
        self.steps.append(step)

    def finish(self):
        """Count the calls."""
        self.finished += 1


@pytest.fixture
def record(tmp_path):
    """Return a function that makes steps of 30 seconds each with a recorder, and returns its writer and its lines."""

    def steps(count, busy=(), **due):
        writer, said, now = Writer(), [], [0.0]
        with LogFile(tmp_path / "log.jsonl", said.append) as log:
            recorder = RunRecorder(log, writer, {}, say=said.append, clock=lambda: now[0], **due)
            for step in range(1, count + 1):
                now[0], writer.busy = 30.0 * step, step in busy
                recorder.finished(step, {"position": step}, last=step == count)
        return writer, said

    return steps


def test_checkpoints_by_steps_and_at_the_end(record):
    writer, said = record(7, every=3, minutes=None)
    assert (writer.steps, writer.finished, said) == ([3, 6, 7], 1, [])


def test_checkpoints_by_time(record):
    writer, _ = record(7, every=None, minutes=1.0)
    assert writer.steps == [2, 4, 6, 7]


def test_a_checkpoint_by_steps_is_left_out_with_a_line_while_the_one_before_is_written(record):
    writer, said = record(6, busy=(3,), every=1, minutes=None)
    assert writer.steps == [1, 2, 4, 5, 6]
    assert said == ["no checkpoint of step 3: the one before is still being written"]


def test_a_checkpoint_by_time_waits_for_the_one_before(record):
    writer, said = record(6, busy=(2, 3), every=None, minutes=1.0)
    assert (writer.steps, said) == ([4, 6], [])


def test_the_last_checkpoint_is_never_left_out(record):
    writer, _ = record(3, busy=(3,), every=None, minutes=10.0)
    assert (writer.steps, writer.finished) == ([3], 1)
