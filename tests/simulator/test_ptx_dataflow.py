"""Data flow: the registers that instructions write and read, and the live registers between blocks."""

import pytest

from simulator.ptx import bits_read, definitions_and_uses
from tests.simulator.ptx_text import instruction, kernel


@pytest.mark.parametrize(
    ("text", "written", "read"),
    [
        ("add.s32 %r1, %r2, %r3;", "r1", "r2 r3"),
        ("@%p1 add.s32 %r1, %r2, 1;", "r1", "r2 p1"),
        ("ld.global.v2.u32 {%r1, %r2}, [%d1];", "r1 r2", "d1"),
        ("st.global.v2.u32 [%d1], {%r1, %r2};", "", "d1 r1 r2"),
        ("setp.lt.and.s32 %p1|%p2, %r1, %r2, !%p3;", "p1 p2", "r1 r2 p3"),
        ("atom.global.add.u32 %r1, [%d1], %r2;", "r1", "d1 r2"),
        ("red.global.add.u32 [%d1], %r2;", "", "d1 r2"),
        ("bar.sync %r1, %r2;", "", "r1 r2"),
        ("bar.red.popc.u32 %r1, 0, %p1;", "r1", "p1"),
        ("cp.async.ca.shared.global [%r1], [%d1], 4, %r2;", "", "r1 d1 r2"),
        ("mov.b64 {%r1, _}, %d1;", "r1", "d1"),
        ("brx.idx %r1, T; A: T: .branchtargets A;", "", "r1"),
        ("nanosleep.u32 %r1;", "", "r1"),
        ("shfl.sync.idx.b32 %r1|%p1, %r2, %r3, 31, %r4;", "r1 p1", "r2 r3 r4"),
        ("wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%d1], {%r1, %r2}, %r3;", "", "d1 r1 r2 r3"),
        ("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1, %r2}, [%r3];", "r1 r2", "r3"),
    ],
)
def test_destinations_come_first_where_there_are_any(text, written, read):
    defined, used = definitions_and_uses(instruction(text))
    assert " ".join(r.name[1:] for r in defined) == written
    assert " ".join(r.name[1:] for r in used) == read


def test_a_value_is_live_from_its_write_to_its_last_read():
    code = kernel("mov.u32 %r1, 1; mov.u32 %r3, 5; @%p1 bra A; mov.u32 %r2, %r1; A: st.global.u32 [%d1], %r3; ret;")
    head, middle, tail, leave = code.blocks
    assert head.live_in == {"%p1", "%d1", "%r2"} - {"%r2"}
    assert head.live_out == {"%r1", "%r3", "%d1"}
    assert middle.live_in == {"%r1", "%r3", "%d1"}
    assert tail.live_in == {"%r3", "%d1"}
    assert tail.live_out == leave.live_in == frozenset()


def test_a_register_that_the_next_iteration_reads_is_live():
    code = kernel("mov.u32 %r1, 0; mov.u32 %r2, 1; A: add.s32 %r1, %r1, %r2; setp.lt.s32 %p1, %r1, 9; @%p1 bra A; ret;")
    assert code.blocks[1].live_in == code.blocks[1].live_out == {"%r1", "%r2"}


def test_a_guarded_write_reads_the_old_value():
    code = kernel("mov.u32 %r1, 1; A: @%p1 mov.u32 %r1, 2; st.global.u32 [%d1], %r1; @%p2 bra A; ret;")
    assert "%r1" in code.blocks[0].live_out
    unguarded = kernel("mov.u32 %r1, 1; A: mov.u32 %r1, 2; st.global.u32 [%d1], %r1; @%p2 bra A; ret;")
    assert "%r1" not in unguarded.blocks[0].live_out


@pytest.mark.parametrize(
    ("text", "actual"),
    [
        ("add.f32 %r1, %r2, %r3; st.shared.b32 [%r4], %r1; ret;", "%r1 %r4"),
        ("add.f32 %r1, %r2, %r3; and.b32 %r4, %r1, 7; ret;", "%r1"),
        ("add.f32 %r1, %r2, %r3; shfl.sync.idx.b32 %r4, %r1, 0, 31, -1; add.f32 %r2, %r4, %r4; ret;", ""),
        ("add.f32 %r1, %r2, %r3; mov.b32 %r4, %r1; shr.u32 %r2, %r4, 16; ret;", "%r1 %r4"),
        ("add.f32 %r1, %r2, %r3; setp.gt.u32 %p1, %r1, 7; ret;", "%r1"),
        ("add.f32 %r1, %r2, %r3; setp.gt.f32 %p1, %r1, %r2; ret;", ""),
    ],
)
def test_bits_are_read_by_integer_instructions_and_through_copies(text, actual):
    assert " ".join(sorted(bits_read(kernel(text)))) == actual
