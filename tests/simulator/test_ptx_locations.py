"""Source lines: the file and the line of an instruction."""

import pytest

from simulator.ptx import Location
from simulator.ptx.locations import frames_of, innermost
from tests.simulator.ptx_text import module

FILES = {1: "/k/norm.cu", 2: "/s/clang_builtins.cuh", 3: "/k/cuda/crucible.cuh"}
KERNEL, HEADER, OWN = Location("/k/norm.cu", 7), Location("/k/cuda/crucible.cuh", 20), Location("/s/clang_builtins.cuh", 5)


@pytest.mark.parametrize(
    ("directive", "frames"),
    [
        (".loc 1 7 3", (KERNEL,)),
        (".loc\t1 7 3   // /k/norm.cu:7:3", (KERNEL,)),
        (".loc 2 5 1 // /s/clang_builtins.cuh:5:1 @[ /k/norm.cu:7:4 ]", (OWN, KERNEL)),
        (
            ".loc 2 5 1 // /s/clang_builtins.cuh:5:1 @[ /k/cuda/crucible.cuh:20:2 @[ /k/norm.cu:7:4 ] ]",
            (OWN, HEADER, KERNEL),
        ),
        (".loc 1 0 3 // /k/norm.cu:0:3", ()),
        (".loc 9 4 3", (Location("file 9", 4),)),
    ],
)
def test_a_directive_tells_the_chain_of_inlined_calls(directive, frames):
    assert frames_of(directive, FILES) == frames


def test_authors_are_shown_their_kernel_not_a_header():
    assert innermost((OWN, HEADER, KERNEL)) == KERNEL
    assert innermost((OWN, HEADER)) == HEADER
    assert innermost((Location("/s/clang_math.cuh", 3), HEADER)) == HEADER
    assert innermost((OWN,)) == OWN
    assert innermost(()) is None
    assert innermost((Location("/a/inner.cu", 1), KERNEL)) == Location("/a/inner.cu", 1)


def test_instructions_carry_the_line_before_them():
    text = """.entry k { .reg .b32 %r<3>;
    .loc 1 7 1
    mov.u32 %r1, 1;
    .loc 1 0 1
    mov.u32 %r1, 2;
    .loc 2 5 1 // /s/clang_builtins.cuh:5:1 @[ /k/norm.cu:9:4 ]
    mov.u32 %r2, 3;
    ret; }
    .file 1 "/k/norm.cu"
    .file 2 "/s/clang_builtins.cuh"
    """
    code = module(text).kernels["k"]
    assert [i.where for i in code.instructions] == ["norm.cu:7", "norm.cu:7", "norm.cu:9", "norm.cu:9"]
    assert code.instructions[2].frames == (OWN, Location("/k/norm.cu", 9))
    assert code.location == KERNEL
