"""A contestant's process, its buffers and its clock."""

import dataclasses
import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proof.cases.values import materialise
from harness.race import clock, contestant_calls
from harness.race.board import params_for, shrunken
from harness.race.contestant_buffers import BufferSets, altered, load_pristine, sample_of, write_pristine
from harness.race.contestant_process import ContestantError, ContestantProcess
from models.workloads import workloads_of
from registry.problem import Problem
from registry.table import discover

TABLE = discover()
OPS = sorted(TABLE.ops)


def small_problem(name):
    """Return an op and a small problem of it."""
    op = TABLE.op(name)
    dims = {dim: next(v for v in values if v >= 3) for dim, values in op.domain.items()}
    return op, Problem(name, dims, params_for(op, dims), dtype=op.dtypes[0], seed=7)


def test_clock_calls_each_once_and_returns_the_mean():
    seen = []
    assert clock.time_calls([lambda: seen.append(1), lambda: seen.append(2)]) > 0
    assert seen == [1, 2]


def test_settle_waits_as_long_as_a_pool_spins(monkeypatch):
    """The test has its own clock: a pool uses a whole core for ten steps and then sleeps."""
    now = [0]
    monkeypatch.setattr(clock, "perf_counter_ns", lambda: now[0])
    monkeypatch.setattr(clock, "process_time_ns", lambda: min(now[0], 10_000_000))
    monkeypatch.setattr(clock, "sleep", lambda _: now.__setitem__(0, now[0] + 1_000_000))
    assert clock.settle() == pytest.approx(0.011)
    assert clock.settle() == pytest.approx(0.001)


def test_settle_gives_up_on_a_pool_that_never_sleeps(monkeypatch):
    now = [0]
    monkeypatch.setattr(clock, "perf_counter_ns", lambda: now[0])
    monkeypatch.setattr(clock, "process_time_ns", lambda: now[0])
    monkeypatch.setattr(clock, "sleep", lambda _: now.__setitem__(0, now[0] + 1_000_000))
    assert clock.settle(longest_s=0.05) == pytest.approx(0.051)


@pytest.mark.parametrize("name", OPS)
def test_every_call_starts_fresh_and_the_changed_values_are_what_the_reference_gets(name, tmp_path):
    op, problem = small_problem(name)
    write_pristine(tmp_path, 0, materialise(op, problem))
    write_pristine(tmp_path, 1, materialise(op, problem))
    buffers = BufferSets(op, problem.dims, problem.dtype, tmp_path, 2)
    reference = TABLE.variant(name, "numpy")
    for seed in ((1, 0), (2, 0), (1, 0)):
        buffers.freshen(1, (*seed, 1))
        expected = {k: np.array(v) for k, v in load_pristine(tmp_path, 1, op).items()}
        for argument, where, values in altered(op, load_pristine(tmp_path, 1, op), (*seed, 1)):
            expected[argument].reshape(-1)[where] = values
        for argument, values in expected.items():
            np.testing.assert_array_equal(buffers.sets[1][argument], values)
        for output in set(op.outputs) - set(expected):
            assert np.isnan(buffers.sets[1][output]).all()
        answer = contestant_calls.oracle_outputs(op, expected, problem.params, double=True)
        contestant_calls.bind_variant(reference, buffers.sets[1], problem.params, None)()
        for output, value in answer.items():
            np.testing.assert_allclose(buffers.sets[1][output], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OPS)
def test_torch_can_be_timed_again_and_again_on_restored_values(name, tmp_path):
    op, problem = small_problem(name)
    write_pristine(tmp_path, 0, materialise(op, problem))
    buffers = BufferSets(op, problem.dims, problem.dtype, tmp_path, 1)
    call = contestant_calls.bind_torch(op, buffers.sets[0], problem.params)
    for seed in range(3):
        buffers.freshen(0, (seed, 0))
        call()


@pytest.mark.parametrize("name", ["gelu", "layer_norm", "residual"])
def test_torch_is_given_bfloat16_in_the_memory_of_the_arrays_and_the_reference_is_better(name, tmp_path):
    import torch

    op, problem = small_problem(name)
    problem = dataclasses.replace(problem, dtype="bfloat16")
    write_pristine(tmp_path, 0, materialise(op, problem))
    arrays = BufferSets(op, problem.dims, problem.dtype, tmp_path, 1).sets[0]
    tensors = [t for t in contestant_calls.bind_torch(op, arrays, problem.params).args if isinstance(t, torch.Tensor)]
    stored = next(t for t in tensors if t.dtype == torch.bfloat16)
    assert stored.data_ptr() in {a.ctypes.data for a in arrays.values()}
    drawn = {k: np.array(v) for k, v in load_pristine(tmp_path, 0, op).items()}
    double = contestant_calls.oracle_outputs(op, drawn, problem.params, double=True)
    single = contestant_calls.oracle_outputs(op, drawn, problem.params, double=False)
    for output, answer in double.items():
        assert (answer.dtype, single[output].dtype) == (np.float64, np.float32)
        np.testing.assert_allclose(single[output], answer, rtol=1e-4, atol=1e-5)


def test_sets_lie_at_other_addresses_and_inputs_of_one_call_are_aligned(tmp_path):
    op, problem = small_problem("layer_norm")
    for number in range(4):
        write_pristine(tmp_path, number, materialise(op, problem))
    buffers = BufferSets(op, problem.dims, problem.dtype, tmp_path, 4)
    addresses = [arrays["x"].ctypes.data for arrays in buffers.sets]
    assert len(set(addresses)) == 4
    assert all(address % 64 == 0 for address in addresses)


@given(st.integers(1, 50), st.integers(0, 2**31))
def test_small_output_is_kept_whole(size, seed):
    array = np.arange(size, dtype=np.float32)
    np.testing.assert_array_equal(sample_of(array, (seed, 0)), array)


def test_large_output_is_sampled_alike_for_contestant_and_reference():
    array = np.arange(3 << 20, dtype=np.float32)
    kept = sample_of(array, (3, 0))
    assert kept.size == 1 << 20
    np.testing.assert_array_equal(kept, sample_of(array.copy(), (3, 0)))
    assert not np.array_equal(kept, sample_of(array, (4, 0)))


@pytest.mark.parametrize("name", OPS)
def test_shrunken_problem_stays_in_the_domain(name):
    op = TABLE.op(name)
    for workload in workloads_of(op):
        small = shrunken(op, workload.dims, 1e6)
        assert max(op.flops(**small), op.bytes_moved(small)) <= 1e6
        assert all(op.domain[dim].start <= small[dim] <= workload.dims[dim] for dim in small)


def test_process_answers_reports_an_error_and_starts_again_after_a_crash():
    process = ContestantProcess()
    try:
        with pytest.raises(ContestantError, match="unknown op 'nothing'") as caught:
            process.ask("load", op="nothing", kind="variant", variant="numpy", threads=1)
        assert caught.value.status == "failed"
        os.kill(process.process.pid, signal.SIGSEGV)
        with pytest.raises(ContestantError) as caught:
            process.ask("release")
        assert (caught.value.status, str(caught.value)) == ("crashed", "its process was ended by SIGSEGV")
        assert process.ask("release") == {}
        os.kill(process.process.pid, signal.SIGSTOP)
        with pytest.raises(ContestantError) as caught:
            process.ask("release", 0.0)
        assert caught.value.status == "hung"
    finally:
        process.close()
