"""The memory plan: buffers that are in use at the same time never share a byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import MODELS
from models.tensors import Buffer, Kind, View
from registry import CrucibleError, discover
from registry.devices import Cpu
from tests.trainer.tiny import TINY, B, T
from trainer.program.arena import Arena, Plan, make_plan, require_memory
from trainer.program.template import StepTemplate


def overlapping(plan, timeline, *, lent=False):
    """Return the pairs of buffers that are in use at the same time and share a byte.

    A gradient is in use to the end: from the start or, with `lent`, from the first call that uses it.
    """
    lives = {}
    for time, views in enumerate(timeline):
        for view in views:
            start, end = (plan.offsets[view.buffer] + byte for byte in view.span)
            stays = view.buffer.kind is Kind.GRADIENTS
            first = lives.get((view.buffer.name, start, end), (time, time))[0]
            lives[view.buffer.name, start, end] = (0 if stays and not lent else first, len(timeline) if stays else time)
    known = list(lives.items())
    return [
        (a, b)
        for i, ((a, a_start, a_end), (a_born, a_dies)) in enumerate(known)
        for (b, b_start, b_end), (b_born, b_dies) in known[:i]
        if a != b and a_born <= b_dies and b_born <= a_dies and a_start < b_end and b_start < a_end
    ]


@st.composite
def timelines(draw):
    """Draw programs of a few calls over a few buffers and over parts of gradients."""
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=12))
    views = [Buffer(f"b{i}", (size,)).whole for i, size in enumerate(sizes)]
    for number in range(draw(st.integers(0, 2))):
        parts = draw(st.lists(st.integers(1, 300), min_size=1, max_size=6))
        gradients = Buffer(f"g{number}", (sum(parts),), Kind.GRADIENTS)
        views += [View(gradients, (size,), sum(parts[:i])) for i, size in enumerate(parts)]
    return draw(st.lists(st.lists(st.sampled_from(views), min_size=1, max_size=4, unique=True), min_size=1, max_size=12))


def planned(timeline, *, lent):
    gradients = {view.buffer for views in timeline for view in views if view.buffer.kind is Kind.GRADIENTS}
    return make_plan(sorted(gradients, key=lambda b: b.name), [timeline], 1, lend_gradients=lent)


@given(timelines(), st.booleans())
def test_buffers_in_use_at_the_same_time_never_share_a_byte(timeline, lent):
    plan = planned(timeline, lent=lent)
    assert overlapping(plan, timeline, lent=lent) == []
    assert all(plan.offsets[v.buffer] + v.buffer.size <= plan.total for views in timeline for v in views)


@given(timelines(), st.booleans())
def test_every_buffer_is_aligned(timeline, lent):
    arena = Arena(planned(timeline, lent=lent), Cpu())
    for views in timeline:
        for view in views:
            assert arena.array(view.buffer).ctypes.data % 64 == 0


def test_activations_reuse_the_memory_of_later_gradients():
    activation, late = Buffer("a", (1000,)), Buffer("g", (1000,), Kind.GRADIENTS)
    timeline = [[activation.whole], [late.whole]]
    assert planned(timeline, lent=True).total == planned([[late.whole]], lent=True).total
    assert planned(timeline, lent=False).total > planned(timeline, lent=True).total


@pytest.mark.parametrize("micro_steps", [1, 2])
@pytest.mark.parametrize("model", [TINY, MODELS["gpt2-124m"]], ids=lambda m: m.name)
def test_buffers_of_a_training_step_never_share_a_byte(model, micro_steps):
    template = StepTemplate(discover(), model, B, T, micro_steps)
    plan = template.plan(1, {key: discover().variant(key[0], "numpy") for key in template.calls_by_key()})
    timeline = [list(c.arrays.values()) for c in (*template.forward, *template.evaluate, *template.backward)]
    assert overlapping(plan, timeline, lent=micro_steps == 1) == []


def test_no_call_writes_where_it_reads():
    template = StepTemplate(discover(), TINY, B, T)
    for call in [*template.step, *template.generate, *template.backward_more]:
        views = [(v.buffer, v.start, v.start + v.size) for v in call.arrays.values()]
        for i, (buffer, start, end) in enumerate(views):
            assert not [v for v in views[:i] if v[0] is buffer and start < v[2] and v[1] < end], str(call)


@pytest.mark.parametrize(("micro_steps", "saved", "total"), [(1, -300, 1905), (2, -100, 2100)])
def test_a_step_of_124m_reuses_memory(micro_steps, saved, total):
    template = StepTemplate(discover(), MODELS["gpt2-124m"], 4, 64, micro_steps)
    plan = template.plan(1, {key: discover().variant(key[0], "numpy") for key in template.calls_by_key()})
    rows = dict(plan.rows())
    assert rows["parameters"] == pytest.approx(124_475_904 * 4 / 2**20, abs=0.01)
    assert rows["saved by reuse"] < saved
    assert rows["total"] < total


def test_the_rows_add_up():
    plan = Plan(by_kind={Kind.PARAMETERS: 1 << 20}, activations=5 << 20, temporaries=3 << 20, shared=6 << 20, total=7 << 20)
    rows = dict(plan.rows())
    assert sum(size for name, size in rows.items() if name != "total") == rows["total"]


class Small(Cpu):
    """A device with 2 MiB of free memory, or with other memory that another process takes before the allocation."""

    def __init__(self, free=2 << 20):
        self.free = free

    def free_bytes(self):
        """Return the free memory."""
        return self.free

    def empty(self, shape, dtype):
        """Fail."""
        del shape, dtype
        self.free = 2 << 20
        raise MemoryError


@pytest.mark.parametrize("free", [2 << 20, 4 << 20])
def test_too_little_memory_is_one_clear_line(free):
    message = "the run needs 3 MiB of memory, 2 MiB are free; choose a smaller --model, --batch or --sequence"
    with pytest.raises(CrucibleError) as caught:
        Arena(Plan(total=3 << 20), Small(free))
    assert str(caught.value) == message


def test_processes_of_one_machine_share_its_memory():
    require_memory(Plan(total=1 << 20), Small(), processes=2)
    with pytest.raises(CrucibleError, match=r"needs 1 MiB of memory for each of 3 processes, 2 MiB are free"):
        require_memory(Plan(total=1 << 20), Small(), processes=3)


def test_workspace_is_behind_everything_else():
    buffer = Buffer("b", (100,))
    arena = Arena(make_plan([], [[[buffer.whole]]], 0, workspace=400), Cpu())
    arena.array(buffer)[...] = 1
    arena.workspace()[...] = 2
    np.testing.assert_array_equal(arena.array(buffer), 1)
    assert arena.workspace().size >= 100
