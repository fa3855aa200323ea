"""Exchanges between lanes (PTX ISA 8.0, sections 9.7.8.5 and 9.7.12): shuffles, votes, matches, reductions, divergence."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.opcodes import apply

LANES = range(32)
FULL = 2**32 - 1
word = st.integers(0, FULL)
warp = st.lists(word, min_size=32, max_size=32)
REDUCTIONS = {
    "add.u32": lambda a, b: (a + b) & FULL,
    "min.u32": min,
    "max.u32": max,
    "and.b32": lambda a, b: a & b,
    "or.b32": lambda a, b: a | b,
    "xor.b32": lambda a, b: a ^ b,
}


def words(values):
    """Return an array of 32-bit words."""
    return np.array(values, np.uint32)


def source_lane(mode, lane, b, c):
    """Return (the lane read from, whether it is in range), in the words of the ISA."""
    b, clamp, segment = b & 31, c & 31, c >> 8 & 31
    most, least = lane & segment | clamp & ~segment, lane & segment
    j = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": least | b & ~segment}[mode]
    valid = j >= most if mode == "up" else j <= most
    return (j, True) if valid else (lane, False)


@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
@given(a=warp, b=warp, c=warp)
def test_a_shuffle_reads_another_lane(mode, a, b, c):
    """Distances and segments differ from lane to lane."""
    c = [value & 0x1F1F for value in c]
    sources = [source_lane(mode, lane, b[lane], c[lane]) for lane in LANES]
    code = f"{{ .reg .pred in_range; shfl.sync.{mode}.b32 %d|in_range, %a, %b, %c, 0xffffffff; PICK }}"
    inputs = {"a": words(a), "b": words(b), "c": words(c)}
    assert apply(code.replace("PICK", ""), "b32", **inputs).tolist() == [a[j] for j, _ in sources]
    flags = apply(code.replace("PICK", "selp.u32 %d, 1, 0, in_range;"), "b32", **inputs)
    assert flags.tolist() == [int(valid) for _, valid in sources]


@pytest.mark.parametrize("width", [32, 16, 8, 4, 2, 1])
@pytest.mark.parametrize("distance", [0, 1, 3, 16, 31])
@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
def test_a_shuffle_by_literals(mode, distance, width):
    c = (32 - width) << 8 | (0 if mode == "up" else 31)
    actual = apply(f"shfl.sync.{mode}.b32 %d, %a, {distance}, {c}, -1;", "b32", a=words(LANES))
    assert actual.tolist() == [source_lane(mode, lane, distance, c)[0] for lane in LANES]


def test_lanes_of_one_mask_shuffle_among_themselves():
    """Odd and even lanes take different branches and shuffle in each."""
    code = """{ .reg .pred odd; and.b32 %t, %lane, 1; setp.eq.u32 odd, %t, 1; @odd bra ODD;
      shfl.sync.bfly.b32 %d, %a, 2, 31, 0x55555555; bra DONE;
      ODD: shfl.sync.bfly.b32 %d, %a, 4, 31, 0xaaaaaaaa; DONE: }"""
    assert apply(code, "b32", a=words(LANES)).tolist() == [lane ^ (4 if lane % 2 else 2) for lane in LANES]


def test_lanes_wait_for_the_others_of_their_mask():
    """All lanes shuffle together, though half of them come by a longer way."""
    code = """{ .reg .pred low; setp.lt.u32 low, %lane, 16; mov.b32 %t, %a; @!low bra ON;
      add.u32 %t, %t, 100; ON: shfl.sync.idx.b32 %d, %t, 3, 31, -1; }"""
    assert apply(code, "b32", a=words(LANES)).tolist() == [103] * 32


@given(st.lists(st.booleans(), min_size=32, max_size=32))
def test_votes_of_all_lanes(p):
    inputs = {"p0": np.array(p)}
    ballot = sum(1 << lane for lane in LANES if p[lane])
    assert apply("vote.sync.ballot.b32 %d, %p0, -1;", "b32", **inputs).tolist() == [ballot] * 32
    assert apply("vote.sync.ballot.b32 %d, !%p0, -1;", "b32", **inputs).tolist() == [ballot ^ FULL] * 32
    for name, expected in {"all": all(p), "any": any(p), "uni": all(p) or not any(p)}.items():
        assert apply(f"vote.sync.{name}.pred %d, %p0, -1;", "pred", **inputs).tolist() == [expected] * 32


@given(st.lists(st.booleans(), min_size=32, max_size=32), st.integers(1, FULL - 1))
def test_votes_of_the_members_of_a_mask(p, mask):
    code = """{ .reg .pred in; shr.u32 %t, %m, %lane; and.b32 %t, %t, 1; setp.ne.u32 in, %t, 0; not.b32 %t, %m;
      @in bra IN; vote.sync.ballot.b32 %d, %p0, %t; bra DONE; IN: vote.sync.ballot.b32 %d, %p0, %m; DONE: }"""
    actual = apply(code, "b32", p0=np.array(p), m=words([mask] * 32))
    ballot = sum(1 << lane for lane in LANES if p[lane])
    assert actual.tolist() == [ballot & (mask if mask >> lane & 1 else ~mask) for lane in LANES]


@pytest.mark.parametrize("length", [1, 7, 31])
def test_lanes_that_do_not_exist_do_not_vote(length):
    actual = apply("{ .reg .pred p; setp.eq.u32 p, %a, %a; vote.sync.ballot.b32 %d, p, -1; }", "b32", a=words(range(length)))
    assert actual.tolist() == [2**length - 1] * length
    assert apply("activemask.b32 %d;", "b32", a=words(range(length))).tolist() == [2**length - 1] * length


def test_lanes_that_have_left_do_not_vote():
    code = """{ .reg .pred early, p; setp.lt.u32 early, %lane, 5; mov.u32 %d, 7; @early bra STORE;
      setp.eq.u32 p, %a, %a; vote.sync.ballot.b32 %d, p, 0xffffffe0; STORE: }"""
    assert apply(code, "b32", a=words(LANES)).tolist() == [7] * 5 + [0xFFFFFFE0] * 27


def test_the_active_lanes_of_a_branch():
    code = """{ .reg .pred low; setp.lt.u32 low, %lane, 12; @low bra LOW; activemask.b32 %d; bra DONE;
      LOW: activemask.b32 %d; DONE: }"""
    assert apply(code, "b32", a=words(LANES)).tolist() == [0xFFF] * 12 + [0xFFFFF000] * 20


@pytest.mark.parametrize("bits", [32, 64])
@given(a=st.lists(st.integers(0, 3), min_size=32, max_size=32), high=st.integers(0, 2**30))
def test_lanes_of_equal_values_find_each_other(bits, a, high):
    a = [value + (high << bits - 31) for value in a]
    actual = apply(f"match.any.sync.b{bits} %d, %a, -1;", "b32", a=np.array(a, f"u{bits // 8}"))
    assert actual.tolist() == [sum(1 << other for other in LANES if a[other] == a[lane]) for lane in LANES]


@given(st.lists(st.integers(0, 1), min_size=32, max_size=32), st.booleans())
def test_whether_all_values_are_equal(a, same):
    a = [a[0]] * 32 if same else a
    equal = len(set(a)) == 1
    code = "{ .reg .pred p; match.all.sync.b32 %d|p, %a, -1; PICK }"
    assert apply(code.replace("PICK", ""), "b32", a=words(a)).tolist() == [FULL * equal] * 32
    assert apply(code.replace("PICK", "selp.u32 %d, 1, 0, p;"), "b32", a=words(a)).tolist() == [equal] * 32


@pytest.mark.parametrize("name", REDUCTIONS)
@given(a=warp)
def test_reductions_over_a_warp(name, a):
    assert apply(f"redux.sync.{name} %d, %a, -1;", "b32", a=words(a)).tolist() == [reduce(REDUCTIONS[name], a)] * 32


@given(warp)
def test_signed_reductions(a):
    array = words(a).view(np.int32)
    assert apply("redux.sync.min.s32 %d, %a, -1;", "s32", a=array).tolist() == [int(array.min())] * 32
    assert apply("redux.sync.max.s32 %d, %a, -1;", "s32", a=array).tolist() == [int(array.max())] * 32
    assert apply("redux.sync.add.s32 %d, %a, -1;", "s32", a=array).tolist() == [int(array.sum(dtype=np.int32))] * 32


def test_a_reduction_over_some_lanes():
    code = """{ .reg .pred low; setp.lt.u32 low, %lane, 8; @low bra LOW; redux.sync.add.u32 %d, %a, 0xffffff00; bra DONE;
      LOW: redux.sync.add.u32 %d, %a, 0xff; DONE: }"""
    assert apply(code, "b32", a=words(LANES)).tolist() == [28] * 8 + [468] * 24


def test_a_warp_barrier_lets_lanes_meet():
    code = (
        "{ .reg .pred low; setp.lt.u32 low, %lane, 9; @low bra ON; add.u32 %a, %a, 1; ON: bar.warp.sync -1; mov.b32 %d, %a; }"
    )
    assert apply(code, "b32", a=words(LANES)).tolist() == [lane + (lane >= 9) for lane in LANES]


@given(st.lists(st.integers(0, 40), min_size=32, max_size=32))
def test_lanes_leave_a_loop_at_their_own_time(a):
    code = """mov.u32 %d, 0; { .reg .pred more; LOOP: setp.lt.u32 more, %d, %a; @!more bra DONE; add.u32 %d, %d, 1;
      bra LOOP; DONE: }"""
    assert apply(code, "b32", a=words(a)).tolist() == a


@given(st.lists(st.integers(0, 9), min_size=32, max_size=32))
def test_lanes_take_different_entries_of_a_table(a):
    code = """{ .reg .pred big; setp.gt.u32 big, %a, 3; @big bra OTHER; T: .branchtargets ZERO, ONE, TWO, ONE; brx.idx %a, T;
      ZERO: mov.u32 %d, 10; bra DONE; ONE: mov.u32 %d, 11; bra DONE; TWO: mov.u32 %d, 12; bra DONE;
      OTHER: mov.u32 %d, 13; DONE: }"""
    assert apply(code, "b32", a=words(a)).tolist() == [[10, 11, 12, 11][x] if x <= 3 else 13 for x in a]
