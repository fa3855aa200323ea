"""Reference outputs computed in a process of their own, and stored on disk."""

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
from harness.proof.reference import process as reference_process
from harness.proof.reference.process import ReferenceProcess, digest_of_code
from harness.proof.reference.tolerance import compute_reference
from registry.errors import CrucibleError
from registry.paths import ROOT
from registry.problem import parse_problem
from registry.table import discover

Array = np.ndarray
OPS = discover().ops
LAYER_NORM = OPS["layer_norm"]
PROBLEM = next(basics(LAYER_NORM))
VALUES = materialise(LAYER_NORM, PROBLEM)


def processes():
    """Return the processes that compute reference outputs."""
    return [p for p in psutil.Process().children() if "harness.proof.reference.process" in p.cmdline()]


def same(one, other):
    """Return whether two reference outputs have the same bits."""

    def fields(reference):
        arrays = {n: {f: np.asarray(v) for f, v in vars(e).items() if f != "dtype"} for n, e in reference.outputs.items()}
        plain = {n: {f: (v.dtype, v.shape, v.tobytes()) for f, v in parts.items()} for n, parts in arrays.items()}
        return plain, {n: e.dtype for n, e in reference.outputs.items()}

    return fields(one) == fields(other)


def no_such_op(x: Float[Array, "N C"], *, eps: float) -> Float[Array, "N C"]:
    """Return outputs of an op that the process cannot find."""
    return x + eps


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """Return a process with an empty folder on disk."""
    with ReferenceProcess(tmp_path_factory.mktemp("outputs")) as process:
        yield process


def output_agrees(one, other):
    """Return whether the requirements on one output agree, up to the order of additions in libraries."""
    flags = all(np.array_equal(getattr(one, f), getattr(other, f)) for f in ("nan", "special", "exact", "dtype"))
    checked = np.isfinite(one.tolerance) & np.isfinite(other.tolerance)
    near = np.abs(one.value[checked] - other.value[checked]) <= np.maximum(
        one.tolerance[checked], 1e-12 * np.abs(one.value[checked])
    )
    return flags and near.all() and (one.tolerance[checked] <= 10 * other.tolerance[checked]).all()


def agree(one, other):
    """Return whether two reference outputs agree."""
    names = one.outputs.keys()
    pairs = [(one.outputs[n], other.outputs[n]) for n in names]
    return names == other.outputs.keys() and all(output_agrees(a, b) and output_agrees(b, a) for a, b in pairs)


@given(data=st.data())
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_the_process_computes_the_outputs_of_this_process_and_the_same_again(process, data):
    op = data.draw(st.sampled_from(list(OPS.values())), label="op")
    problem = data.draw(problems(op).filter(lambda p: is_small(op, p, simulated=True)))
    values = materialise(op, problem)
    here, there = compute_reference(op, problem, values), process.compute_reference(op, problem, values)
    assert agree(there, here)
    assert same(process.compute_reference(op, problem, values), there)


def test_no_process_is_started_for_stored_outputs(tmp_path):
    before = len(processes())
    with ReferenceProcess(tmp_path) as first:
        stored = first.compute_reference(LAYER_NORM, PROBLEM, VALUES)
        assert len(processes()) == before + 1
    with ReferenceProcess(tmp_path) as second:
        assert same(second.compute_reference(LAYER_NORM, PROBLEM, VALUES), stored)
        assert len(processes()) == before


@pytest.mark.parametrize("what", ["values", "problem", "contract", "code"])
def test_outputs_are_computed_again_after_a_change_of_code_contract_problem_or_values(tmp_path, monkeypatch, what):
    with ReferenceProcess(tmp_path) as first:
        first.compute_reference(LAYER_NORM, PROBLEM, VALUES)
    before = len(processes())
    problem, values = PROBLEM, VALUES
    if what == "values":
        values = {**VALUES, "x": VALUES["x"] + np.float32(1)}
    elif what == "problem":
        problem = next(p for p in basics(LAYER_NORM) if p.dims == PROBLEM.dims and p != PROBLEM)
    elif what == "contract":
        monkeypatch.setattr(reference_process, "_contract", lambda op: f"another contract of {op.name}")
    else:
        monkeypatch.setattr(reference_process, "CODE", b"other code")
    with ReferenceProcess(tmp_path) as second:
        second.compute_reference(LAYER_NORM, problem, values)
        assert len(processes()) == before + 1


def test_outputs_of_other_code_than_this_process_has_are_not_stored(tmp_path, monkeypatch):
    """The code differs as if a file had been saved since the start of this process."""
    monkeypatch.setattr(reference_process, "CODE", b"code of before")
    before = len(processes())
    for _ in range(2):
        with ReferenceProcess(tmp_path) as process:
            process.compute_reference(LAYER_NORM, PROBLEM, VALUES)
            assert len(processes()) == before + 1


@pytest.mark.parametrize("name", ["harness/proof/reference/tolerance.py", "registry/dtypes.py", "kernels/gelu/spec.py"])
def test_every_byte_of_the_code_counts(tmp_path, name):
    for folder in ("harness/proof", "registry", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert digest_of_code(tmp_path) == reference_process.CODE
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"#")
    assert digest_of_code(tmp_path) != reference_process.CODE


def test_a_damaged_database_is_replaced(tmp_path):
    for _ in range(2):
        (tmp_path / "cache.db").write_bytes(b"damaged" * 1000)
        with ReferenceProcess(tmp_path) as process:
            process.compute_reference(LAYER_NORM, PROBLEM, VALUES)
    before = len(processes())
    with ReferenceProcess(tmp_path) as process:
        process.compute_reference(LAYER_NORM, PROBLEM, VALUES)
        assert len(processes()) == before


@pytest.mark.parametrize("damage", ["values", "database", "folder"])
def test_a_folder_that_cannot_be_used_is_no_reason_to_stop(tmp_path, damage):
    folder = tmp_path / "outputs"
    large = parse_problem(LAYER_NORM, "N=100 C=100")  # its outputs are stored in a file beside the database
    values = materialise(LAYER_NORM, large)
    if damage == "folder":
        folder.write_text("a file, not a folder")
    else:
        with ReferenceProcess(folder) as first:
            first.compute_reference(LAYER_NORM, large, values)
        damaged = list(folder.rglob("*.val" if damage == "values" else "*.db*"))
        assert damaged
        for path in damaged:
            path.write_bytes(b"damaged")
    with ReferenceProcess(folder) as second:
        assert agree(second.compute_reference(LAYER_NORM, large, values), compute_reference(LAYER_NORM, large, values))


def test_an_error_is_raised_at_the_request_and_the_next_request_succeeds(process):
    with pytest.raises(CrucibleError, match=r"reference outputs of layer_norm N=.* cannot be computed: KeyError: 'weight'"):
        process.compute_reference(LAYER_NORM, PROBLEM, {"x": VALUES["x"]})
    with pytest.raises(CrucibleError, match=r"unknown op .no_such_op."):
        process.compute_reference(dataclasses.replace(LAYER_NORM, reference=no_such_op, outputs=("y",)), PROBLEM, VALUES)
    assert agree(process.compute_reference(LAYER_NORM, PROBLEM, VALUES), compute_reference(LAYER_NORM, PROBLEM, VALUES))


def test_a_waiting_thread_gets_an_error_when_the_process_is_stopped(tmp_path):
    errors = []

    def wait(process):
        try:
            process.compute_reference(LAYER_NORM, PROBLEM, VALUES)
        except CancelledError as error:
            errors.append(error)

    before = set(processes())
    with ReferenceProcess(tmp_path) as process:
        waiting = threading.Thread(target=wait, args=(process,))
        waiting.start()
        while not (started := set(processes()) - before):
            assert waiting.is_alive()
        os.kill(started.pop().pid, signal.SIGSTOP)  # it sends no reply
        process.stop()
        waiting.join(60)
    assert errors
    assert set(processes()) <= before
    with pytest.raises(CancelledError):
        process.compute_reference(LAYER_NORM, PROBLEM, VALUES)


def test_a_process_that_ends_of_itself_is_an_error_in_one_line_and_the_next_request_succeeds(tmp_path):
    before = set(processes())
    with ReferenceProcess(tmp_path) as process:
        process.compute_reference(LAYER_NORM, PROBLEM, VALUES)
        (started,) = set(processes()) - before
        started.kill()
        with pytest.raises(CrucibleError, match=r"computes reference outputs was ended by SIGKILL"):
            process.compute_reference(LAYER_NORM, other := next(p for p in basics(LAYER_NORM) if p != PROBLEM), VALUES)
        assert agree(process.compute_reference(LAYER_NORM, other, VALUES), compute_reference(LAYER_NORM, other, VALUES))
