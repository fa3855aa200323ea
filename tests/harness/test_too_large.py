"""A shape whose arrays do not fit into memory is refused in one line, before a process starts or an array is drawn."""

from types import SimpleNamespace

import psutil
import pytest

from harness import bench, check_shapes, inspect, verify

SHAPE = "N=100000000000 C=768"
ARGUMENTS = 2 * 100_000_000_000 * 768 + 2 * 768 + 2 * 100_000_000_000  # elements of x, y, weight, bias, mean and rstd
ROWS = ("--op", "layer_norm", "--variant", "numba_rows")


@pytest.mark.parametrize(
    ("command", "words", "copies"),
    [
        (verify, (*ROWS, "--problem", SHAPE), 8),
        (verify, ("--op", "layer_norm", "--variant", "cuda_naive", "--device", "sim", "--problem", SHAPE), 8),
        (check_shapes, (*ROWS, "--problem", SHAPE), 2),
        (inspect, ("--op", "layer_norm", "--variant", "cuda_naive", "--dims", SHAPE), 2),
        (bench, (*ROWS[:2], "--dims", SHAPE), 2),
    ],
    ids=lambda value: value.__name__ if hasattr(value, "__name__") else None,
)
def test_the_message_has_the_bytes_needed_and_the_bytes_available(command, words, copies, capsys, tmp_path):
    folder = () if command is inspect else ("--results", str(tmp_path))
    assert command.main([*words, *folder]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"'{SHAPE}': layer_norm needs" in message
    assert f"({copies * 8 * ARGUMENTS:,} bytes)" in message
    assert "GiB are available; give smaller dims" in message


def test_the_memory_that_is_available_decides(monkeypatch, capsys):
    words = [*ROWS, "--problem", "N=3 C=5"]
    assert verify.main(words) == 0
    needed = 8 * 8 * (2 * 3 * 5 + 2 * 5 + 2 * 3)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=needed - 1))
    assert verify.main(words) == 2
    assert f"layer_norm needs 0.0 GiB of memory ({needed:,} bytes)" in capsys.readouterr().err
