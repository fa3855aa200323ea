"""Buffers and gates: every change of memory by a call is found, to the byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proof.cases.values import materialise
from harness.proof.gates import Case, Rejected, check_call, check_repeats, check_values
from harness.proof.reference.cache import ReferenceCache
from harness.proof.reference.tolerance import compute_reference
from harness.proof.sandbox.buffers import (
    FINITE,
    GUARD,
    MARGIN,
    POISON,
    STALE,
    WORD,
    Buffers,
    Memory,
    bits_of,
    fresh_inouts,
    view,
)
from harness.proof.sandbox.client import Worker
from registry.dtypes import DTYPES
from registry.problem import Problem, SpecialValue
from registry.table import discover

TABLE = discover()
OP = TABLE.op("layer_norm_backward")
PROBLEM = Problem(OP.name, {"N": 3, "C": 5}, {"accumulate": False})


@pytest.fixture
def memory():
    """Close the memory after use."""
    memory = Memory()
    yield memory
    memory.close()


def laid_out(memory, alignment="aligned", workspace=7, dtype="float32", **params):
    """Return filled buffers of PROBLEM and their values."""
    problem = Problem(OP.name, PROBLEM.dims, {"accumulate": False, **params}, dtype, alignment)
    values = materialise(OP, problem)
    buffers = Buffers(OP, problem, workspace)
    buffers.fill(memory, values)
    return buffers, values


def write_outputs(memory, buffers):
    """Write every output, as a kernel would."""
    for name in OP.outputs:
        view(memory.mapped, buffers.slots[name])[...] = 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("alignment", ["aligned", "offset"])
def test_inputs_are_filled_outputs_and_workspace_poisoned(memory, alignment, dtype):
    buffers, values = laid_out(memory, alignment, dtype=dtype)
    for name, slot in buffers.slots.items():
        array = view(memory.mapped, slot)
        if slot.role == "input":
            np.testing.assert_array_equal(bits_of(array), bits_of(values[name]))
        else:
            assert (bits_of(array).view(np.uint16) == POISON).all()
        assert slot.offset % 64 == (0 if alignment == "aligned" else array.itemsize)
    for kind in DTYPES:
        with np.errstate(invalid="ignore"):  # they are signalling NaNs
            assert np.isnan(np.array([GUARD, GUARD, POISON, POISON], np.uint16).view(kind)).all()


def test_an_accumulating_call_finds_the_earlier_sums(memory):
    buffers, values = laid_out(memory, accumulate=True)
    np.testing.assert_array_equal(view(memory.mapped, buffers.slots["dbias"]), values["dbias"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_scratch_memory_holds_finite_numbers_of_the_seed(memory, dtype):
    held = []
    for seed in (0, 0, 1):
        problem = Problem(OP.name, PROBLEM.dims, {"accumulate": False}, dtype, seed=seed)
        buffers = Buffers(OP, problem, 7)
        buffers.fill(memory, materialise(OP, problem), FINITE)
        for name in ("dx", "dweight", "workspace"):
            array = view(memory.mapped, buffers.slots[name]).astype(np.float64)
            assert np.isfinite(array).all()
            assert (np.abs(array) > 1e-3).all()
        held.append(view(memory.mapped, buffers.slots["dx"]).tobytes())
    assert held[0] == held[1] != held[2]


def test_scratch_memory_holds_the_data_of_the_last_call_at_the_place_of_other_arrays_too(memory):
    buffers, values = laid_out(memory)
    write_outputs(memory, buffers)
    assert buffers.damage(memory, values) == ""
    buffers.fill(memory, values, STALE)
    assert all((view(memory.mapped, buffers.slots[n]) == 1).all() for n in OP.outputs)
    other = Buffers(OP, Problem(OP.name, {"N": 2, "C": 9}, {"accumulate": False}), 7)
    start = other.slots["dx"].words.start
    before = memory.words[start : start + 8].copy()
    other.fill(memory, materialise(OP, other.problem), STALE)
    np.testing.assert_array_equal(memory.words[start : start + 8], before)
    write_outputs(memory, other)
    assert other.damage(memory, materialise(OP, other.problem)) == ""


def test_guards_are_whole_again_after_a_call_that_wrote_beside_its_arrays(memory):
    buffers, values = laid_out(memory)
    write_outputs(memory, buffers)
    memory.words[4] = 0
    memory.words[buffers.size // WORD - 1] = 0
    assert "before the start of 'dy'" in buffers.damage(memory, values)
    buffers.fill(memory, values)
    write_outputs(memory, buffers)
    assert buffers.damage(memory, values) == ""


def test_all_well_is_no_damage(memory):
    buffers, values = laid_out(memory)
    write_outputs(memory, buffers)
    assert buffers.damage(memory, values) == ""


@given(data=st.data())
def test_one_changed_word_outside_the_outputs_is_damage(data):
    memory = Memory()
    alignment, dtype = data.draw(st.sampled_from(["aligned", "offset"])), data.draw(st.sampled_from(DTYPES))
    buffers, values = laid_out(memory, alignment, dtype=dtype)
    write_outputs(memory, buffers)
    writable = [s for s in buffers.slots.values() if s.role != "input"]
    where = data.draw(st.integers(0, buffers.size // WORD - 1) | st.integers(MARGIN // WORD, (MARGIN + 8192) // WORD))
    allowed = any(s.offset <= where * WORD < s.offset + s.bytes for s in writable)
    memory.words[where] ^= 1
    assert bool(buffers.damage(memory, values)) is not allowed
    memory.close()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OP.outputs)
def test_one_unwritten_element_is_damage(memory, name, dtype):
    buffers, values = laid_out(memory, dtype=dtype)
    write_outputs(memory, buffers)
    array = view(memory.mapped, buffers.slots[name]).reshape(-1)
    array[2:3].view(np.uint16)[...] = POISON
    if dtype == "float32":
        array[3:4].view(np.uint16)[0] = POISON  # a number whose lower half is the poison
    assert buffers.damage(memory, values).startswith("left 1 of")
    assert f"{name!r} unwritten, the first at 2" in buffers.damage(memory, values)


def test_memory_grows_and_keeps_working(memory):
    before = memory.size
    memory.grow(before * 3)
    assert memory.size >= before * 3
    assert memory.words.size * WORD == memory.size


def test_accumulate_by_suffix_speaks_for_one_inout():
    op = TABLE.op("embedding_backward")
    assert fresh_inouts(op, {"accumulate_wte": False, "accumulate_wpe": True}) == {"dwte"}
    assert fresh_inouts(OP, {"accumulate": False}) == {"dweight", "dbias"}
    assert fresh_inouts(OP, {"accumulate": True}) == set()


def case(worker, op="softmax", **fields):
    """Return a case of the numpy variant."""
    reference_cache = ReferenceCache([compute_reference])
    problem = Problem(op, {"N": 2, "C": 9}, **fields)
    return Case(TABLE.variant(op, "numpy"), reference_cache.of(TABLE.op(op), problem), reference_cache, worker, 1)


def test_a_call_returns_the_outputs_that_the_variant_wrote(worker):
    outputs = check_call(case(worker))
    np.testing.assert_allclose(outputs["y"].sum(axis=1), 1, rtol=1e-6)


def test_a_worker_that_was_started_before_it_is_needed_serves_like_any_other():
    with Worker() as started:
        started.start()
        started.start()
        np.testing.assert_allclose(check_call(case(started))["y"].sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "op", "gate"),
    [
        ({}, "softmax", "values"),
        ({"special_values": (SpecialValue(0, 0.5, "nan"),)}, "softmax", "specials"),
        ({}, "softmax_backward", "gradients"),
        ({"distribution": "integers"}, "residual", "exact"),
    ],
)
def test_wrong_value_is_rejected_under_the_name_of_its_gate(worker, fields, op, gate):
    right = case(worker, op, **fields)
    name = right.op.outputs[0]
    wrong = {name: np.full((2, 9), 7.5, np.float32)}
    with pytest.raises(Rejected, match=gate) as rejected:
        check_values(right, wrong)
    assert rejected.value.gate == gate


def test_other_bits_on_the_second_call_are_rejected(worker):
    checked = case(worker)
    outputs = check_call(checked)
    check_repeats(checked, outputs, check_call(checked))
    outputs["y"][1, 3] = np.nextafter(outputs["y"][1, 3], np.float32(1))
    with pytest.raises(Rejected, match=r"y differs at element 12: .* \(1 in all\)"):
        check_repeats(checked, outputs, check_call(checked))
