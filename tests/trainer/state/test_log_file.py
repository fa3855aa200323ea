"""A log keeps whole lines, and a resumed run continues it at the position of its checkpoint."""

import errno
import os

import pytest

from registry.errors import CrucibleError
from trainer.state.log_file import LogFile, read_log


def test_lines_are_read_back_and_a_resumed_log_begins_at_its_position(tmp_path):
    path = tmp_path / "log.jsonl"
    with LogFile(path, print) as log:
        log.add(step=1, loss=0.1)
        position = log.position
        log.add(step=2, loss=0.2)
    with LogFile(path, print, position) as log:
        assert log.position == position
        log.add(step=2, loss=0.3)
    assert list(read_log(path)) == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.3}]


def test_a_line_that_is_torn_or_not_of_a_log_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"val_loss": 3}\n{"step": "2"}\n{"step": 2, "loss": null}\n[1]\n\xff\n{"step": 2}')
    assert list(read_log(path)) == [{"step": 1}]
    assert list(read_log(tmp_path / "none")) == []


def test_a_log_that_lost_lines_is_continued_at_its_end(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n')
    with LogFile(path, print, 1000) as log:
        log.add(step=2)
    assert [line["step"] for line in read_log(path)] == [1, 2]


def test_a_full_disk_costs_lines_but_not_the_run(tmp_path, monkeypatch):
    said, path = [], tmp_path / "log.jsonl"
    with LogFile(path, said.append) as log:
        log.add(step=1)
        with monkeypatch.context() as patch:

            def full(*_):
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(os, "write", full)
            log.add(step=2)
        log.add(step=3)
    assert [line["step"] for line in read_log(path)] == [1, 3]
    assert len(said) == 1
    assert "No space left on device" in said[0]


def test_half_a_line_on_a_full_disk_spoils_no_later_line(tmp_path, monkeypatch):
    path, write = tmp_path / "log.jsonl", os.write
    with LogFile(path, print) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:5]))
            log.add(step=1)
        log.add(step=2)
    assert [line["step"] for line in read_log(path)] == [2]


def test_a_log_that_cannot_be_opened_is_an_error_in_one_line(tmp_path):
    with pytest.raises(CrucibleError, match=r"cannot write .*log\.jsonl"):
        LogFile(tmp_path / "none" / "log.jsonl", print)
