"""``make gpu-check``: without a GPU it prints one line; with a (stand-in) GPU every part runs, even after a failure."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import gpu_check as check
from harness.cuda.agreement import Agreement, agreement, compared_problems, ulp_distance
from harness.proof.sandbox.client import Worker
from registry.dtypes import BFLOAT16, DTYPES
from registry.machine import machine_key
from registry.table import discover
from tests.house.document_check import document_of


def test_without_a_gpu_it_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert check.main([]) == 2
    output = capsys.readouterr().err
    assert "--device sim" in output
    assert output.count("\n") == 1


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 9))
def test_neighbours_are_one_apart(value, steps):
    start = np.float32([value])
    there = start
    for _ in range(steps):
        there = np.nextafter(there, np.float32(np.inf))
    assert ulp_distance(start, there) == ulp_distance(there, start) == steps


def test_nan_agrees_with_nan_alone_and_integers_with_themselves():
    one = np.float32([np.nan, np.nan, 0.0])
    assert list(ulp_distance(one, np.float32([np.nan, 1.0, -0.0])) > 0) == [False, True, False]
    assert list(ulp_distance(np.int32([3, 4]), np.int32([3, 6]))) == [0, 2]


@given(st.integers(1, 0x7F00), st.integers(0, 9), st.booleans())
def test_neighbours_in_bfloat16_are_one_apart(bits, steps, negative):
    one, other = (np.uint16([b | negative << 15]).view(BFLOAT16) for b in (bits, bits + steps))
    assert ulp_distance(one, other) == steps


def test_every_dtype_that_a_variant_takes_is_compared():
    usual, both = discover().variant("layer_norm", "numba_rows"), discover().variant("layer_norm", "cuda_vector")
    op = both.op
    one, two, none = (list(compared_problems(op, *variants)) for variants in ((usual,), (usual, both), ()))
    assert [p.dtype for p in one] == ["float32"] * len(one)
    assert (one, none) == (two[: len(one)], one)
    assert [p.dtype for p in two[len(one) :]] == ["bfloat16"] * len(one)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dtype", DTYPES)
def test_stand_in_and_simulator_agree_to_the_bit(dtype):
    variant = discover().variant("layer_norm", "cuda_vector")
    with Worker() as worker:
        result = agreement(variant, worker, [p for p in compared_problems(variant.op, variant) if p.dtype == dtype][:3])
    assert (result.problems, result.ulps, result.share, result.note) == (3, 0, 1.0, "")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("op", "dtypes"), [("softmax", ["float32"]), ("layer_norm", ["float32", "bfloat16"])])
def test_parts_do_not_stop_each_other_and_each_dtype_is_raced(op, dtypes, tmp_path, monkeypatch, capsys):
    commands = []

    def command(module, words):
        given = dict(zip(words[::2], words[1::2], strict=False))
        commands.append((module, given.get("--dtype"), given.get("--protocol")))
        return "" if module == "harness.verify" else f"{module} fell over"

    def lame(variants, *_):
        return [Agreement(v.op.name, v.name, 1, 10, 5, 7) for v in variants]

    monkeypatch.setattr(check, "_command", command)
    monkeypatch.setattr(check, "_compare", lame)
    assert check.main(["--op", op, "--results", str(tmp_path)]) == 1
    races = [("harness.bench", dtype, protocol) for dtype in dtypes for protocol in ("cuda-cold", "cuda-graph")]
    assert commands == [("harness.verify", None, None), *races]
    output = capsys.readouterr().out
    assert check.main(["--op", op, "--results", str(tmp_path), "--json"]) == 1
    document = document_of(capsys.readouterr().out, "harness.gpu_check", 1)
    assert (document["failures"].count("harness.bench fell over"), document["agreements"][0]["ulps"]) == (len(races), 7)
    assert output.count("harness.bench fell over") == len(races)
    assert "50.00%" in output
    kept = json.loads((tmp_path / machine_key("cuda") / "agreement.json").read_text())
    assert {a["ulps"] for a in kept} == {7}


def test_a_command_that_refuses_is_a_failure_in_one_line(capfd):
    problem = check._command("harness.bench", ["--op", "no_such_op"])  # noqa: SLF001 (a part of the command)
    assert problem.startswith("python -m harness.bench --op no_such_op ended with code 2")
    assert "no_such_op" in capfd.readouterr().err


def test_make_has_a_target_for_it():
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    assert "python -m harness.gpu_check" in makefile.replace("$(PY)", "python")
