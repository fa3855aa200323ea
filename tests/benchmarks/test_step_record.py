"""Ratios and checks of the step benchmark, on random samples."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.step_record import LOSS_TOLERANCE, ArmTimes, StepRun, check_conditions, check_losses, ratios_of
from registry.errors import CrucibleError

milliseconds = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=20)


def arm(name, ms, peak_rss=1000.0):
    """Return an arm with these times."""
    return ArmTimes.of(name, ms, [10.8] * (len(ms) + 2), peak_rss, {"found": 1.0})


def run(*arms):
    """Return a run of these arms."""
    return StepRun(
        model="gpt2-nano",
        batch=1,
        sequence=8,
        threads=1,
        rounds=len(arms[0].ms),
        caches="found",
        kernels={},
        arms=list(arms),
        ratios=ratios_of(arms),
        left_out={},
    )


@given(milliseconds, st.floats(0.1, 10.0))
def test_an_exact_multiple_of_crucibles_times_is_read_exactly(ms, factor):
    (ratio,) = ratios_of([arm("crucible", ms, 500.0), arm("torch", [factor * t for t in ms])])
    assert ratio.time == pytest.approx(factor)
    assert ratio.lower_quartile == pytest.approx(factor)
    assert ratio.memory == 0.5
    assert ratio.interval[0] <= ratio.time * (1 + 1e-9)
    assert ratio.time <= ratio.interval[1] * (1 + 1e-9)


@given(st.lists(st.tuples(st.floats(1.0, 1e4), st.floats(1.0, 1e4)), min_size=1, max_size=20))
def test_the_interval_holds_the_ratio_and_is_within_the_rounds_where_there_are_enough(pairs):
    ours, theirs = map(list, zip(*pairs, strict=True))
    (ratio,) = ratios_of([arm("torch", theirs), arm("crucible", ours)])
    low, high = ratio.interval
    assert 0 < low <= ratio.time * (1 + 1e-9)
    assert ratio.time <= high * (1 + 1e-9)
    if len(pairs) >= 6:
        ratios = [other / own for own, other in pairs]
        assert min(ratios) <= low * (1 + 1e-9)
        assert high <= max(ratios) * (1 + 1e-9)


@given(milliseconds)
def test_without_crucible_nothing_is_compared(ms):
    assert ratios_of([arm("torch", ms), arm("torch-compile", ms)]) == []
    assert run(arm("torch", ms)).strongest is None


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=4))
def test_the_strongest_arm_is_the_one_with_the_least_ratio(factors):
    ours = [100.0, 101.0, 102.0]
    others = [arm(f"torch-{i}", [f * t for t in ours]) for i, f in enumerate(factors)]
    assert run(arm("crucible", ours), *others).strongest.time == pytest.approx(min(factors))


@given(milliseconds)
def test_a_run_survives_json(ms):
    record = run(arm("crucible", ms), arm("torch", ms))
    assert StepRun.from_json(json.loads(json.dumps(record.to_json()))) == record


losses = st.floats(0.1, 12.0)


@given(losses, st.lists(st.floats(0.0, 0.9), min_size=1, max_size=4))
def test_losses_within_the_tolerance_pass(loss, shares):
    check_losses(1, {"crucible": loss} | {f"torch-{i}": loss * (1 + s * LOSS_TOLERANCE) for i, s in enumerate(shares)})


@given(losses, st.floats(1.1, 1e6), st.booleans())
def test_a_loss_beyond_the_tolerance_is_an_error_that_names_both_arms(loss, factor, above):
    off = loss * (1 + factor * LOSS_TOLERANCE) if above else loss / (1 + factor * LOSS_TOLERANCE)
    with pytest.raises(CrucibleError, match=r"step 3: arms \w+ and \w+ do not do the same work") as caught:
        check_losses(3, {"crucible": loss, "torch": off})
    assert {"crucible", "torch"} <= set(str(caught.value).split())


@given(st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_a_loss_that_is_not_finite_is_an_error_even_if_all_have_it(value):
    with pytest.raises(CrucibleError, match="step 1: the loss of arm crucible is"):
        check_losses(1, {"crucible": value, "torch": value})


@pytest.mark.parametrize(("name", "value"), [("threads", [2]), ("dtype", "bfloat16"), ("flushes_subnormals", True)])
def test_other_conditions_are_an_error(name, value):
    expected = {"threads": [1], "dtype": "float32", "flushes_subnormals": False}
    check_conditions(expected, {"crucible": expected, "torch": dict(expected)})
    with pytest.raises(CrucibleError, match=f"arm torch runs with {name}"):
        check_conditions(expected, {"crucible": expected, "torch": expected | {name: value}})
