"""An unsupported instruction is refused with its text and its place, and never approximated."""

import pytest

from simulator import UnsupportedInstruction
from tests.simulator.opcodes import kernel

REGISTERS = ".reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<9>; .reg .b64 %d<9>;"


@pytest.mark.parametrize(
    "instruction",
    [
        "add.rz.f32 %r1, %r2, %r3;",
        "mul.rp.f64 %d1, %d2, %d3;",
        "fma.rm.f32 %r1, %r2, %r3, %r4;",
        "div.rz.f32 %r1, %r2, %r3;",
        "cvt.rz.f32.s32 %r1, %r2;",
        "cvt.rp.f16.f32 %h1, %r2;",
        "cvt.rm.f32.f64 %r1, %d1;",
        "mul24.lo.s32 %r1, %r2, %r3;",
        "add.cc.u32 %r1, %r2, %r3;",
        "cnot.b32 %r1, %r2;",
        "dp4a.s32.s32 %r1, %r2, %r3, %r4;",
        "prmt.b32.f4e %r1, %r2, %r3, %r4;",
        "slct.s32.s32 %r1, %r2, %r3, %r4;",
        "testp.subnormal.f32 %p1, %r1;",
        "setp.lt.f16x2 %p1|%p2, %r1, %r2;",
        "mbarrier.init.shared.b64 [%r1], 32;",
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%d1], 16, [%r2];",
        "cp.async.ca.shared.global [%r1], [%d1], 32;",
        "bar.sync 16;",
        "barrier.cluster.arrive;",
        "wgmma.fence.sync.aligned;",
        "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%d1, %d2}, {%d3}, {%d4}, {%d1, %d2};",
        "tex.1d.v4.f32.s32 {%r1, %r2, %r3, %r4}, [%d1, {%r5}];",
        "atom.global.add.noftz.f16x2 %r1, [%d1], %r2;",
        "frobnicate.u32 %r1, %r2;",
        "call (%r1), unknown_function, (%r2);",
    ],
)
def test_an_instruction_that_is_not_simulated(instruction):
    with pytest.raises(UnsupportedInstruction) as caught:
        kernel(f"{REGISTERS}\n.loc 1 42 1 // /k/norm.cu:42:1\n{instruction}\nret;", ()).launch(1, 32, ())
    assert caught.value.where == "norm.cu:42"
    assert instruction.partition(" ")[0].rstrip(";") in str(caught.value)
