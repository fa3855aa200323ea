"""Parameters, variables, initial values and directives."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import CompileError
from simulator.ptx import BITS, Symbol
from tests.simulator.ptx_text import kernel, module


def variable(text):
    """Return the one variable that the text declares."""
    (actual,) = module(text).variables.values()
    return actual


@given(st.lists(st.sampled_from(["u8", "s16", "b32", "f32", "u64", "f64"]), max_size=8))
def test_parameters_are_laid_out_as_a_struct(types):
    """Numpy's aligned records are laid out as C's structs, which is the rule of PTX."""
    actual = kernel("ret;", ", ".join(f".param .{type_} k_{i}" for i, type_ in enumerate(types))).parameters
    struct_ = np.dtype([(f"k_{i}", f"V{BITS[t] // 8}") for i, t in enumerate(types)])
    record = np.dtype([(n, f"u{struct_[n].itemsize}") for n in struct_.names or ()], align=True)
    assert [p.offset for p in actual] == [record.fields[n][1] for n in record.names or ()]
    assert [p.type for p in actual] == types


def test_pointers_and_structs_by_value():
    code = kernel("ret;", ".param .u64 .ptr .global .align 16 k_x, .param .align 8 .b8 k_s[20], .param .u8 k_c")
    pointer, by_value, byte = code.parameters
    assert (pointer.type, pointer.align, pointer.size, pointer.count) == ("u64", 8, 8, 0)
    assert (by_value.offset, by_value.size, by_value.align, by_value.count) == (8, 20, 8, 20)
    assert byte.offset == 28
    assert code.signature.parameter_bytes == 29
    assert code.parameter("k_s") == by_value
    assert code.parameter("k_t") is None


def test_a_kernel_without_parameters_has_none():
    assert module(".entry k { ret; }").kernels["k"].signature.parameter_bytes == 0


@given(st.lists(st.integers(-(2**31), 2**32 - 1), min_size=1, max_size=6))
def test_integers_are_stored_little_endian(values):
    actual = variable(f".global .align 4 .u32 x[{len(values)}] = {{{', '.join(map(str, values))}}};")
    assert actual.initial == b"".join(struct.pack("<I", v % 2**32) for v in values)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4))
def test_singles_are_stored_as_their_bits(values):
    bits = [struct.unpack("<I", struct.pack("<f", v))[0] for v in values]
    actual = variable(f".const .f32 x[{len(values)}] = {{{', '.join(f'0f{b:08X}' for b in bits)}}};")
    assert actual.initial == struct.pack(f"<{len(values)}f", *values)
    assert actual.space == "const"


def test_elements_without_an_initial_value_are_zero():
    assert variable(".global .align 1 .b8 x[4] = {1};").initial == b"\1\0\0\0"
    assert variable(".global .b8 x[2][2] = {{1, 2}, {3, 4}};").initial == b"\1\2\3\4"
    assert variable(".global .b8 x[] = {7, 8};").size == 2
    assert variable(".global .u16 x = -2;").initial == b"\xfe\xff"


def test_addresses_in_initial_values_are_relocations():
    actual = variable(".global .align 8 .u64 x[3] = {generic(a), 5, generic(b)+4};")
    assert actual.relocations == ((0, Symbol("a")), (16, Symbol("b", 4)))
    assert actual.initial == struct.pack("<3Q", 0, 5, 0)
    parts = ", ".join(f"{0xFF << 8 * i:#X}(generic(a))".replace("0X", "0x") for i in range(8))
    assert variable(f".global .align 8 .b8 x[16] = {{{parts}}};").relocations == ((0, Symbol("a")),)


def test_alignment_defaults_to_the_type():
    assert variable(".visible .global .f64 x[3];").align == 8
    assert variable(".global .align 16 .b8 x[32];").align == 16
    assert variable(".global .f64 x[3];").initial is None


def test_dynamic_shared_memory_has_no_size():
    actual = variable(".extern .shared .align 16 .b8 pool[];")
    assert (actual.size, actual.external, actual.space) == (0, True, "shared")


def test_variables_of_a_body_belong_to_the_kernel():
    code = kernel(".shared .align 4 .b8 tile[512]; .local .align 8 .b8 depot[24]; .shared .f32 a, b; ret;")
    assert {name: (v.space, v.size) for name, v in code.variables.items()} == {
        "tile": ("shared", 512),
        "depot": ("local", 24),
        "a": ("shared", 4),
        "b": ("shared", 4),
    }


def test_directives_of_an_entry():
    text = ".entry k(.param .u64 x) .maxntid 128, 1, 1 .minnctapersm 2 { ret; }"
    assert module(text).kernels["k"].directives == {"maxntid": (128, 1, 1), "minnctapersm": (2,)}


def test_directives_around_functions_are_read_or_skipped():
    actual = module(
        '.extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b);\n.pragma "nounroll";\n'
        '.entry k { ret; }\n.section .debug_info { .b8 1 .b32 $L-4 }\n.file 1 "/a/b.cu"'
    )
    assert (actual.version, actual.target) == ("8.0", "sm_80")
    assert actual.files == {1: "/a/b.cu"}
    assert list(actual.kernels) == ["k"]


@pytest.mark.parametrize("text", [".entry", ".global x;", "frob", ".global .u32 x = y z;", '.global .u32 x = "a";'])
def test_broken_declarations_are_refused(text):
    with pytest.raises(CompileError, match=r"PTX line \d"):
        module(text)
