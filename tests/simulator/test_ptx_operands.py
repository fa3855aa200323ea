"""Instructions and operands, parsed from one line of PTX."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import CompileError, UnsupportedInstruction
from simulator.ptx import SINK, Address, Immediate, Negated, Pair, Register, Special, Symbol, Vector
from tests.simulator.ptx_text import instruction, kernel, module

R1, R2, P1, P2 = Register("%r1", "b32"), Register("%r2", "b32"), Register("%p1", "pred"), Register("%p2", "pred")


def source(operand):
    """Return how the second operand of a move is read."""
    return instruction(f"mov.b64 %d1, {operand};").operands[1]


@given(st.integers(0, 2**64 - 1), st.sampled_from(["{}", "{}U", "0x{:x}", "0X{:X}U", "0{:o}", "0b{:b}"]))
def test_an_integer_reads_the_same_in_every_base(value, form):
    assert source(form.format(value)) == Immediate(value)


@given(st.integers(0, 2**63))
def test_a_minus_negates_an_integer(value):
    assert source(f"-{value}") == Immediate(-value)


@given(st.floats(width=32))
def test_a_single_is_its_bits(value):
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    assert source(f"0f{bits:08X}") == Immediate(bits, "f32")
    assert source(f"-0f{bits:08x}") == Immediate(bits ^ 1 << 31, "f32")


@given(st.floats())
def test_a_double_is_its_bits(value):
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    assert source(f"0d{bits:016X}") == Immediate(bits, "f64")


@given(st.floats(0, 1e300))
def test_a_decimal_fraction_is_a_double(value):
    actual = source(repr(value) if "." in repr(value) or "e" in repr(value) else f"{value}.0")
    assert actual.type == "f64"
    assert math.isclose(struct.unpack("<d", struct.pack("<Q", actual.value))[0], value, rel_tol=0)


@pytest.mark.parametrize(
    ("text", "operand"),
    [
        ("%tid.x", Special("%tid.x")),
        ("%laneid", Special("%laneid")),
        ("%lanemask_lt", Special("%lanemask_lt")),
        ("table", Symbol("table")),
        ("table+12", Symbol("table", 12)),
        ("table-4", Symbol("table", -4)),
        ("WARP_SZ", Immediate(32)),
        ("~5", Immediate(-6)),
        ("{%r1, %r2}", Vector((R1, R2))),
        ("{%r1, _}", Vector((R1, SINK))),
    ],
)
def test_operands_keep_their_kind(text, operand):
    assert source(text) == operand


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[%d1]", Address(Register("%d1", "b64"))),
        ("[%d1+16]", Address(Register("%d1", "b64"), 16)),
        ("[%d1+-16]", Address(Register("%d1", "b64"), -16)),
        ("[%d1-16]", Address(Register("%d1", "b64"), -16)),
        ("[buffer]", Address(Symbol("buffer"))),
        ("[buffer+8]", Address(Symbol("buffer"), 8)),
        ("[4096]", Address(None, 4096)),
    ],
)
def test_addresses_are_a_base_and_an_offset(text, address):
    assert instruction(f"ld.global.u32 %r1, {text};").operands == (R1, address)


def test_the_opcode_tells_name_modifiers_space_and_types():
    load = instruction("ld.global.nc.L1::evict_last.v4.f32 {%r1, %r2, %r3, %r4}, [%d1];")
    assert (load.name, load.space, load.type) == ("ld", "global", "f32")
    assert load.has("nc")
    assert load.has("v4")
    assert not load.has("ld")
    assert instruction("cvt.rn.f16.f32 %h1, %r1;").types == ("f16", "f32")
    assert instruction("ld.u32 %r1, [%d1];").space == "generic"
    assert instruction("st.shared::cta.u32 [%r1], %r2;").space == "shared"
    mma = (
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r1,%r2,%r3,%r4},{%r5,%r6,%r7,%r8},{%r9,%r10},{%r1,%r2,%r3,%r4};"
    )
    assert instruction(mma).types == ("f32", "bf16", "bf16", "f32")


def test_guards_are_kept_apart_from_operands():
    plain, negated = kernel("@%p1 mov.u32 %r1, 1; @!%p2 mov.u32 %r1, 2; ret;").instructions[:2]
    assert (plain.predicate, plain.predicate_negated) == (P1, False)
    assert (negated.predicate, negated.predicate_negated) == (P2, True)
    assert negated.operands == (R1, Immediate(2))


def test_two_destinations_and_negated_predicates():
    both = instruction("setp.lt.and.s32 %p1|%p2, %r1, %r2, !%p3;")
    assert both.operands == (Pair(P1, P2), R1, R2, Negated(Register("%p3", "pred")))
    assert instruction("shfl.sync.up.b32 %r1|%p1, %r2, 1, 0, -1;").operands[0] == Pair(R1, P1)
    assert instruction("setp.eq.s32 _|%p1, %r1, 0;").operands[0] == Pair(SINK, P1)


def test_an_instruction_knows_its_text_and_line():
    second = kernel("mov.u32 %r1, 1;\nadd.s32   %r1,\n\t%r1, 2; // twice\nret;").instructions[1]
    assert second.text == "add.s32 %r1, %r1, 2"
    assert second.ptx_line == 7
    assert second.where == "PTX line 7"
    assert second.index == 1


def test_comments_may_stand_anywhere():
    assert [i.name for i in kernel("/* mov.u32 %r1, 1; */ ret // ; trap;\n;").instructions] == ["ret"]


def test_braces_open_a_scope_of_their_own():
    code = kernel(
        "{ .reg .b32 %r1; mov.u32 %r1, 1; { mov.u32 %r1, 2; } } { .reg .b64 %r1; mov.u64 %r1, 3; } mov.u32 %r1, 4; ret;"
    )
    first, nested, second, outer = (i.operands[0] for i in code.instructions[:4])
    assert first == nested
    assert len({first, second, outer}) == 3
    assert outer == R1
    assert code.registers[second.name].type == "b64"


def test_labels_of_inline_assembly_may_repeat():
    asm = "{ .reg .pred q; setp.eq.s32 q, %r1, 0; @q bra done; mov.u32 %r1, 1; done: }"
    code = kernel(f"{asm} {asm} ret;")
    first, second = (i.targets[0] for i in code.instructions if i.name == "bra")
    assert code.labels[first] == 3
    assert code.labels[second] == 6


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("mov.u32 %r1 1;", r"PTX line 6: expected ';', found '1'"),
        ("mov.u32 %r1, =;", "PTX line 6: '=' begins no operand"),
        ("@%r99 ret;", "unknown predicate '%r99'"),
        ("bra nowhere;", "no label 'nowhere' for 'bra nowhere' on line 6"),
        (".frob 3;", "unknown directive '.frob'"),
    ],
)
def test_text_that_is_not_ptx_is_refused_with_its_line(body, message):
    with pytest.raises(CompileError, match=message):
        kernel(body)


def test_an_unfinished_text_is_refused():
    with pytest.raises(CompileError, match="PTX line 4: the brace is never closed"):
        kernel("mov.u32 %r1, 1; {")


def test_a_function_without_a_body_is_refused_by_line():
    with pytest.raises(CompileError, match="PTX line 4: expected the body of a function"):
        module(".entry k .func ; { ret; }")


def test_tensor_addresses_are_refused_where_they_stand():
    with pytest.raises(
        UnsupportedInstruction, match=r"PTX line 6: not simulated: cp\.async\.bulk\.tensor.*\(the address of a tensor"
    ):
        kernel("cp.async.bulk.tensor.1d.shared::cluster.global.tile [%r1], [%d1, {%r2}], [%r3];")
