"""Loads and stores of a warp: consecutive, equal and random addresses, with inactive lanes."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Module
from simulator.codegen.compile import Target
from tests.simulator.opcodes import HEAD

TARGETS = pytest.mark.parametrize("target", [None, Target.named("haswell")], ids=["this machine", "without AVX-512"])
LANES = np.arange(32)
PLACES = {
    "in line": LANES,
    "in line from elsewhere": LANES + 17,
    "at one place": LANES * 0 + 5,
    "each half in line": LANES % 16,
    "each half at a place": LANES // 16 * 9,
    "one half in line": np.where(LANES < 16, LANES, 40 - LANES),
    "backwards": 31 - LANES,
    "apart": LANES * 3 % 64,
}
MASKS = {"all": 0xFFFFFFFF, "none": 0, "but the first": 0xFFFFFFFE, "odd": 0xAAAAAAAA, "one": 1 << 20, "upper half": 0xFFFF0000}


@functools.cache
def move(bits, target):
    """Return a kernel that copies ``x[source[lane]]`` to ``y[place[lane]]`` in the lanes of a mask."""
    address = "@%on ld.param.u64 %a, [{0}]; @%on ld.global.u32 %i, [%w+{1}]; @%on mad.wide.u32 %a, %i, {2}, %a;"
    body = f"""
    .reg .pred %on; .reg .b32 %lane, %i, %m; .reg .b64 %w, %a; .reg .b{max(16, bits)} %v;
    mov.u32 %lane, %tid.x; ld.param.u32 %m, [m]; shr.u32 %m, %m, %lane; and.b32 %m, %m, 1; setp.eq.u32 %on, %m, 1;
    ld.param.u64 %w, [w]; mad.wide.u32 %w, %lane, 8, %w; mov.u64 %a, 0;
    {address.format("x", 0, bits // 8)} @%on ld.global.u{bits} %v, [%a];
    mov.u64 %a, 0; {address.format("y", 4, bits // 8)} @%on st.global.u{bits} [%a], %v; ret;"""
    parameters = ".param .u64 x, .param .u64 y, .param .u64 w, .param .u32 m"
    return Module.from_ptx(f"{HEAD}.visible .entry k({parameters}) {{{body}}}", target=target).kernel("k")


def check(bits, target, source, places, mask):
    x, y = np.arange(1, 65).astype(f"u{bits // 8}"), np.zeros(64, f"u{bits // 8}")
    expected = y.copy()
    for lane in range(32):
        if mask >> lane & 1:
            expected[places[lane]] = x[source[lane]]
    done = move(bits, target).launch(1, 32, (x, y, np.stack([source, places], axis=1).astype(np.uint32), mask))
    assert (done.status, y.tolist()) == ("ok", expected.tolist())


@TARGETS
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("places", PLACES)
def test_patterns(bits, places, target):
    for mask in MASKS.values():
        check(bits, target, PLACES[places], LANES, mask)
        check(bits, target, LANES, PLACES[places], mask)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@given(data=st.data())
def test_any_places(bits, data):
    places = st.lists(st.integers(0, 63), min_size=32, max_size=32)
    check(bits, None, data.draw(places), data.draw(places), data.draw(st.integers(0, 0xFFFFFFFF)))
