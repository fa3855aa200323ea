"""Memory is planned once: what lives at the same time never shares a byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import CrucibleError, discover
from registry.devices import Host
from registry.models import MODELS
from tests.trainer.tiny import TINY, B, T
from trainer.arena import Arena, Buffer, Kind, Plan, make_plan
from trainer.program import Outline


def lives(timeline):
    """Return first and last call of each buffer."""
    found = {}
    for time, buffers in enumerate(timeline):
        for buffer in buffers:
            found[buffer] = (found.get(buffer, (time, time))[0], time)
    return found


def overlapping(plan, timeline):
    """Return the pairs of buffers that live at the same time and share a byte."""
    known = list(lives(timeline).items())
    return [
        (a.name, b.name)
        for i, (a, (a_born, a_dies)) in enumerate(known)
        for b, (b_born, b_dies) in known[:i]
        if a_born <= b_dies
        and b_born <= a_dies
        and plan.offsets[a] < plan.offsets[b] + b.size
        and plan.offsets[b] < plan.offsets[a] + a.size
    ]  # fmt: skip (times, then bytes)


@st.composite
def timelines(draw):
    """Draw programs of a few calls over a few buffers."""
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=12))
    buffers = [Buffer(f"b{i}", (size,)) for i, size in enumerate(sizes)]
    return draw(st.lists(st.lists(st.sampled_from(buffers), min_size=1, max_size=4, unique=True), min_size=1, max_size=12))


@given(timelines())
def test_what_lives_at_the_same_time_never_shares_a_byte(timeline):
    plan = make_plan([], [timeline], 1)
    assert overlapping(plan, timeline) == []
    assert all(plan.offsets[b] + b.size <= plan.total for call in timeline for b in call)


@given(timelines())
def test_every_buffer_is_aligned(timeline):
    arena = Arena(make_plan([], [timeline], 1), Host())
    for call in timeline:
        for buffer in call:
            assert arena.array(buffer).ctypes.data % 64 == 0


@pytest.mark.parametrize("model", [TINY, MODELS["gpt2-124m"]], ids=lambda m: m.name)
def test_in_a_training_step_too(model):
    outline = Outline(discover(), model, B, T)
    plan = outline.plan(1, {need: discover().variant(need[0], "numpy") for need in outline.needs()})
    timeline = [
        [b for b in c.buffers() if b.kind is Kind.TRANSIENT] for c in (*outline.forward, *outline.evaluate, *outline.backward)
    ]
    assert overlapping(plan, timeline) == []


def test_no_call_writes_where_it_reads():
    outline = Outline(discover(), TINY, B, T)
    for call in [*outline.step, *outline.generate, *outline.backward_more]:
        views = [(v.buffer, v.start, v.start + v.size) for v in call.arrays.values()]
        for i, (buffer, start, end) in enumerate(views):
            assert not [v for v in views[:i] if v[0] is buffer and start < v[2] and v[1] < end], str(call)


def test_a_step_of_124m_reuses_memory():
    outline = Outline(discover(), MODELS["gpt2-124m"], 4, 64)
    plan = outline.plan(1, {need: discover().variant(need[0], "numpy") for need in outline.needs()})
    rows = dict(plan.rows())
    assert rows["parameters"] == pytest.approx(124_475_904 * 4 / 2**20, abs=0.01)
    assert rows["saved by reuse"] < -100
    assert rows["total"] < 2150


def test_the_rows_add_up():
    plan = Plan(by_kind={Kind.PARAMETERS: 1 << 20}, activations=5 << 20, temporaries=3 << 20, shared=6 << 20, total=7 << 20)
    rows = dict(plan.rows())
    assert sum(size for name, size in rows.items() if name != "total") == rows["total"]


def test_memory_that_the_machine_does_not_have_is_one_clear_line():
    class Small(Host):
        def empty(self, shape, dtype):
            del shape, dtype
            raise MemoryError

    with pytest.raises(CrucibleError, match=r"cannot allocate 3 MiB; choose a smaller --model, --batch or --sequence"):
        Arena(Plan(total=3 << 20), Small())


def test_workspace_is_behind_everything_else():
    buffer = Buffer("b", (100,))
    arena = Arena(make_plan([], [[[buffer]]], 0, workspace=400), Host())
    arena.array(buffer)[...] = 1
    arena.workspace()[...] = 2
    np.testing.assert_array_equal(arena.array(buffer), 1)
    assert arena.workspace().size >= 100
