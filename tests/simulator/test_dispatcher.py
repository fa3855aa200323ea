"""The order in which a warp's basic blocks run: lanes that wait forever are found in every form of loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.opcodes import kernel

MODES = pytest.mark.parametrize("mode", ["fast", "checked"])
REGISTERS = ".reg .pred %p<4>; .reg .b32 %r<9>; .reg .b64 %d<3>;"
CLOSED_BY = {
    "a jump": "mov.u32 %r2, 1; bra HEAD;",
    "falling through": "mov.u32 %r2, 1;",
    "a branch not taken": "@%p1 bra DONE;",
    "a trap not taken": "@%p1 trap;",
    "a table": "@!%p1 brx.idx %r3, ts;",
}


@MODES
@pytest.mark.parametrize("back", CLOSED_BY)
def test_a_loop_that_waits_forever_is_found(back, mode):
    body = f"""{REGISTERS}
    ld.param.u64 %d1, [y]; setp.ne.u32 %p1, 0, 0; mov.u32 %r3, 0;
    ts: .branchtargets HEAD, DONE;
    bra HEAD;
    LATCH: {CLOSED_BY[back]}
    HEAD: ld.volatile.global.u32 %r1, [%d1]; setp.eq.u32 %p2, %r1, 0; @%p2 bra LATCH;
    DONE: ret;"""
    done = kernel(body, ("y",)).launch(1, 1, (np.zeros(1, np.int32),), mode=mode)
    assert (done.status, [finding.kind for finding in done.findings]) == ("deadlock", ["deadlock"])


@MODES
@given(blocks=st.integers(60, 140), times=st.lists(st.integers(0, 200), min_size=32, max_size=32))
def test_lanes_that_leave_at_their_own_block_of_many(mode, blocks, times):
    """More blocks than a word of the set of pending ones has bits."""
    steps = "\n".join(f"setp.eq.u32 %p1, %r1, {n}; @%p1 bra END; add.u32 %r2, %r2, 1;" for n in range(blocks))
    body = f"""{REGISTERS}
    ld.param.u64 %d1, [y]; mov.u32 %r3, %tid.x; mul.wide.u32 %d2, %r3, 4; add.u64 %d1, %d1, %d2;
    ld.global.u32 %r1, [%d1]; mov.u32 %r2, 0;
    {steps}
    END: st.global.u32 [%d1], %r2; ret;"""
    y = np.array(times, np.uint32)
    assert kernel(body, ("y",)).launch(1, 32, (y,), mode=mode).status == "ok"
    assert y.tolist() == [min(n, blocks) for n in times]


@MODES
@pytest.mark.parametrize("number", [16, 31, 32, 1_000_000, 2**32 - 1])
@pytest.mark.parametrize(("barrier", "status"), [("bar.sync %r1", "deadlock"), ("bar.arrive %r1, 64", "ok")])
def test_a_barrier_that_does_not_exist_never_completes(barrier, status, number, mode):
    body = f"{REGISTERS} ld.param.u64 %d1, [y]; ld.global.u32 %r1, [%d1]; {barrier}; ret;"
    assert kernel(body, ("y",)).launch(1, 32, (np.array([number], np.uint32),), mode=mode).status == status


@pytest.mark.parametrize(("limit", "divergent"), [(0, 0), (16, 1), (32, 0), (40, 1), (64, 0)])
def test_branches_at_which_lanes_part_are_counted(limit, divergent):
    body = f"""{REGISTERS}
    ld.param.u64 %d1, [y]; mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, {limit}; @%p1 bra END;
    st.global.u32 [%d1], %r1;
    END: ret;"""
    done = kernel(body, ("y",)).launch(1, 64, (np.zeros(1, np.uint32),), mode="checked")
    assert (done.counters.branches, done.counters.divergent_branches) == (2, divergent)
