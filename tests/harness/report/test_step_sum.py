"""The sum of the races of a step's calls is compared with the measured time of the step with the same kernels."""

import json

import pytest

from harness.pages import check_sum
from harness.report.step_sum import STEPS_FILE, step_sum
from models.workloads import step_workloads
from registry import CrucibleError, discover
from registry.records import Row, Run, Store

STEP = "gpt2-nano-b2-t32"
TABLE = discover()


def raced(workload, **medians):
    """Return a race of one call, with the milliseconds of each contestant."""
    rows = [Row(variant=name, source="", status="passed", samples_ms=[ms] * 3) for name, ms in medians.items()]
    about = {"protocol": "cpu-warm", "threads": 2, "controls": {}, "roofline": {}}
    return Run(op=workload.op, workload=workload.name, dims=dict(workload.dims), params={}, rows=rows, **about)


def measured(store, ms, kernels):
    """Store a measured step, as `benchmarks.step` does."""
    arms = [{"arm": "torch", "ms": [1.0]}, {"arm": "crucible", "ms": ms}]
    store.folder.mkdir(parents=True, exist_ok=True)
    line = {"model": "gpt2-nano", "batch": 2, "sequence": 32, "kernels": kernels, "arms": arms, "created": "2026-12-01"}
    with (store.folder / STEPS_FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.fixture
def store(tmp_path):
    """Return records in which each call of the step takes one millisecond with one variant and ten with another."""
    made = Store(tmp_path)
    made.add_run(*(raced(w, numba_fast=1.0, numba_slow=10.0) for w in step_workloads(STEP)))
    return made


CALLS = sum(w.count for w in step_workloads(STEP))
FAST = {w.op: "numba_fast" for w in step_workloads(STEP)}


def test_calls_are_weighted_and_taken_with_the_kernels_of_the_step(store):
    measured(store, [CALLS * 0.9, CALLS * 1.05, CALLS * 1.2], FAST)
    found = step_sum(TABLE, store, STEP)
    assert (found.races_ms, found.step_ms) == (CALLS, pytest.approx(0.975 * CALLS))
    assert found.agrees
    measured(store, [CALLS + 9.0], {**FAST, "matmul/head": "numba_slow"})
    assert step_sum(TABLE, store, STEP).races_ms == CALLS + 9


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_a_sum_that_is_off_by_more_than_a_tenth_is_refused_with_both_figures(store, factor):
    measured(store, [CALLS * factor], FAST)
    with pytest.raises(CrucibleError, match=f"add up to {CALLS} ms .* which took {CALLS * factor:,.0f} ms"):
        check_sum(step_sum(TABLE, store, STEP))


def test_a_call_without_a_race_is_named(store):
    measured(store, [float(CALLS)], {**FAST, "attention": "numba_unraced"})
    with pytest.raises(CrucibleError, match="Not raced: attention with numba_unraced"):
        check_sum(step_sum(TABLE, store, STEP))


def test_without_a_measured_step_there_is_nothing_to_hold(store):
    assert step_sum(TABLE, store, STEP) is None
    assert step_sum(TABLE, store, "gpt2-124m-b4-t64") is None
    check_sum(None)
