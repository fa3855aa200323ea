"""Answer keys made in a process of their own, and kept on disk."""

import dataclasses
import os
import shutil
import signal
import threading
from concurrent.futures import CancelledError

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from harness.proof.cases.strategies import basics, is_small, problems
from harness.proof.cases.values import materialise
from harness.proof.reference import process as answer_process
from harness.proof.reference.process import AnswerProcess, digest_of_code
from harness.proof.reference.tolerance import refer
from registry.errors import CrucibleError
from registry.problem import parse_problem
from registry.table import ROOT, discover

Array = np.ndarray
OPS = discover().ops
LAYER_NORM = OPS["layer_norm"]
PROBLEM = next(basics(LAYER_NORM))
VALUES = materialise(LAYER_NORM, PROBLEM)


def processes():
    """Return the processes that make keys."""
    return [p for p in psutil.Process().children() if "harness.proof.reference.process" in p.cmdline()]


def same(one, other):
    """Return whether two keys are the same to the bit."""

    def fields(key):
        arrays = {n: {f: np.asarray(v) for f, v in vars(e).items() if f != "dtype"} for n, e in key.outputs.items()}
        plain = {n: {f: (v.dtype, v.shape, v.tobytes()) for f, v in found.items()} for n, found in arrays.items()}
        return plain, {n: e.dtype for n, e in key.outputs.items()}

    return fields(one) == fields(other)


def no_such_op(x: Float[Array, "N C"], *, eps: float) -> Float[Array, "N C"]:
    """Define what no process knows."""
    return x + eps


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    """Make keys that nobody has kept before."""
    with AnswerProcess(tmp_path_factory.mktemp("answers")) as made:
        yield made


def says_the_same(one, other):
    """Return whether two keys of an output ask for the same, but for the order in which libraries added on their way."""
    flags = all(np.array_equal(getattr(one, f), getattr(other, f)) for f in ("nan", "special", "exact", "dtype"))
    asked = np.isfinite(one.budget) & np.isfinite(other.budget)
    near = np.abs(one.value[asked] - other.value[asked]) <= np.maximum(one.budget[asked], 1e-12 * np.abs(one.value[asked]))
    return flags and near.all() and (one.budget[asked] <= 10 * other.budget[asked]).all()


def agree(one, other):
    """Return whether two keys ask for the same."""
    names = one.outputs.keys()
    pairs = [(one.outputs[n], other.outputs[n]) for n in names]
    return names == other.outputs.keys() and all(says_the_same(a, b) and says_the_same(b, a) for a, b in pairs)


@given(data=st.data())
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_the_key_says_what_it_would_if_it_were_made_here_and_the_same_later(maker, data):
    op = data.draw(st.sampled_from(list(OPS.values())), label="op")
    problem = data.draw(problems(op).filter(lambda p: is_small(op, p, simulated=True)))
    values = materialise(op, problem)
    here, there = refer(op, problem, values), maker.refer(op, problem, values)
    assert agree(there, here)
    assert same(maker.refer(op, problem, values), there)


def test_no_process_is_started_for_what_was_kept(tmp_path):
    before = len(processes())
    with AnswerProcess(tmp_path) as first:
        key = first.refer(LAYER_NORM, PROBLEM, VALUES)
        assert len(processes()) == before + 1
    with AnswerProcess(tmp_path) as second:
        assert same(second.refer(LAYER_NORM, PROBLEM, VALUES), key)
        assert len(processes()) == before


@pytest.mark.parametrize("what", ["values", "problem", "contract", "code"])
def test_a_key_is_made_again_once_anything_that_it_depends_on_has_changed(tmp_path, monkeypatch, what):
    with AnswerProcess(tmp_path) as first:
        first.refer(LAYER_NORM, PROBLEM, VALUES)
    before = len(processes())
    problem, values = PROBLEM, VALUES
    if what == "values":
        values = {**VALUES, "x": VALUES["x"] + np.float32(1)}
    elif what == "problem":
        problem = next(p for p in basics(LAYER_NORM) if p.dims == PROBLEM.dims and p != PROBLEM)
    elif what == "contract":
        monkeypatch.setattr(answer_process, "_contract", lambda op: f"another contract of {op.name}")
    else:
        monkeypatch.setattr(answer_process, "CODE", b"other code")
    with AnswerProcess(tmp_path) as second:
        second.refer(LAYER_NORM, problem, values)
        assert len(processes()) == before + 1


def test_a_key_of_other_code_than_this_process_has_is_not_kept(tmp_path, monkeypatch):
    """As if a file had been saved since this process began."""
    monkeypatch.setattr(answer_process, "CODE", b"code of before")
    before = len(processes())
    for _ in range(2):
        with AnswerProcess(tmp_path) as maker:
            maker.refer(LAYER_NORM, PROBLEM, VALUES)
            assert len(processes()) == before + 1


@pytest.mark.parametrize("name", ["harness/proof/reference/tolerance.py", "registry/dtypes.py", "kernels/gelu/spec.py"])
def test_every_byte_of_the_code_that_makes_keys_counts(tmp_path, name):
    for folder in ("harness/proof", "registry", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert digest_of_code(tmp_path) == answer_process.CODE
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"#")
    assert digest_of_code(tmp_path) != answer_process.CODE


def test_a_damaged_database_is_replaced(tmp_path):
    for _ in range(2):
        (tmp_path / "cache.db").write_bytes(b"damaged" * 1000)
        with AnswerProcess(tmp_path) as maker:
            maker.refer(LAYER_NORM, PROBLEM, VALUES)
    before = len(processes())
    with AnswerProcess(tmp_path) as maker:
        maker.refer(LAYER_NORM, PROBLEM, VALUES)
        assert len(processes()) == before


@pytest.mark.parametrize("damage", ["values", "database", "folder"])
def test_a_folder_that_cannot_be_used_is_no_reason_to_stop(tmp_path, damage):
    folder = tmp_path / "answers"
    large = parse_problem(LAYER_NORM, "N=100 C=100")  # one that stands in a file beside the database
    values = materialise(LAYER_NORM, large)
    if damage == "folder":
        folder.write_text("a file stands here")
    else:
        with AnswerProcess(folder) as first:
            first.refer(LAYER_NORM, large, values)
        damaged = list(folder.rglob("*.val" if damage == "values" else "*.db*"))
        assert damaged
        for path in damaged:
            path.write_bytes(b"damaged")
    with AnswerProcess(folder) as second:
        assert agree(second.refer(LAYER_NORM, large, values), refer(LAYER_NORM, large, values))


def test_what_goes_wrong_is_raised_where_the_key_is_asked_for_and_the_next_is_made(maker):
    with pytest.raises(KeyError, match="weight"):
        maker.refer(LAYER_NORM, PROBLEM, {"x": VALUES["x"]})
    with pytest.raises(CrucibleError, match=r"unknown op .no_such_op."):  # whose error takes other arguments than it keeps
        maker.refer(dataclasses.replace(LAYER_NORM, definition=no_such_op, outputs=("y",)), PROBLEM, VALUES)
    assert agree(maker.refer(LAYER_NORM, PROBLEM, VALUES), refer(LAYER_NORM, PROBLEM, VALUES))


def test_who_waits_for_a_key_is_told_that_nobody_makes_it_any_more(tmp_path):
    told = []

    def wait(maker):
        try:
            maker.refer(LAYER_NORM, PROBLEM, VALUES)
        except CancelledError as error:
            told.append(error)

    before = set(processes())
    with AnswerProcess(tmp_path) as maker:
        waiting = threading.Thread(target=wait, args=(maker,))
        waiting.start()
        while not (started := set(processes()) - before):
            assert waiting.is_alive()
        os.kill(started.pop().pid, signal.SIGSTOP)  # it never answers
        maker.stop()
        waiting.join(60)
    assert told
    assert set(processes()) <= before
    with pytest.raises(CancelledError):
        maker.refer(LAYER_NORM, PROBLEM, VALUES)


def test_a_process_that_ends_of_itself_is_an_error_in_one_line_and_the_next_key_is_made(tmp_path):
    before = set(processes())
    with AnswerProcess(tmp_path) as maker:
        maker.refer(LAYER_NORM, PROBLEM, VALUES)
        (started,) = set(processes()) - before
        started.kill()
        with pytest.raises(CrucibleError, match=r"makes answer keys was ended by SIGKILL"):
            maker.refer(LAYER_NORM, other := next(p for p in basics(LAYER_NORM) if p != PROBLEM), VALUES)
        assert agree(maker.refer(LAYER_NORM, other, VALUES), refer(LAYER_NORM, other, VALUES))
