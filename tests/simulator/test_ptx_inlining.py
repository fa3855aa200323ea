"""Device functions are inlined; calls of external functions get registers for parameters."""

import pytest

from simulator.errors import UnsupportedInstruction
from simulator.ptx import Address, Register, Symbol, Vector
from tests.simulator.ptx_text import module

TWICE = """.func (.param .b32 out) twice(.param .b32 in) {
  .reg .b32 %r<3>; .reg .pred %p<2>;
  ld.param.b32 %r1, [in]; setp.eq.s32 %p1, %r1, 0; @%p1 bra Z;
  add.s32 %r2, %r1, %r1; st.param.b32 [out], %r2; ret;
  Z: st.param.b32 [out], %r1; ret; }
"""
CALL = "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1; call.uni (r), FN, (a); ld.param.b32 %r2, [r]; }"


def entry(body, functions=TWICE):
    """Return the kernel `k` with that body and these device functions."""
    registers = ".reg .b16 %h<5>; .reg .b32 %r<9>; .reg .b64 %d<9>; .reg .pred %p<3>;"
    return module(f"{functions}.entry k(.param .u64 x, .param .u32 n) {{ {registers} {body} ret; }}").kernels["k"]


def test_no_call_is_left_and_the_values_flow():
    code = entry(CALL.replace("FN", "twice"))
    assert "call" not in {i.name for i in code.instructions}
    passed = code.instructions[0]
    assert passed.opcode == ("mov", "b32")
    assert passed.operands[1] == Register("%r1", "b32")
    received = code.instructions[1]
    assert received.operands[1] == passed.operands[0]
    result = code.instructions[-2]
    assert result.operands[0] == Register("%r2", "b32")
    written = [i.operands[0] for i in code.instructions if i.operands and i.operands[0] == result.operands[1]]
    assert len(written) == 2


def test_each_call_has_registers_and_labels_of_its_own():
    code = entry(2 * CALL.replace("FN", "twice"))
    jumps = [i.targets[0] for i in code.instructions if i.name == "bra" and i.predicate]
    assert len(set(jumps)) == 2
    assert all(label in code.labels for label in jumps)
    doubled = [i.operands[0] for i in code.instructions if i.name == "add"]
    assert len(set(doubled)) == 2
    assert all(register.name in code.registers for register in doubled)


def test_a_return_goes_to_the_end_of_the_function():
    code = entry(CALL.replace("FN", "twice") + " mov.u32 %r5, 7;")
    returns = [i for i in code.instructions if i.name == "bra" and not i.predicate]
    assert len(returns) == 2
    end = {code.labels[i.targets[0]] for i in returns}
    assert [code.instructions[index].text for index in end] == ["ld.param.b32 %r2, [r]"]


def test_functions_call_functions():
    outer = TWICE + TWICE.replace("twice", "outer").replace("add.s32 %r2, %r1, %r1;", CALL.replace("FN", "twice"))
    code = entry(CALL.replace("FN", "outer"), outer)
    assert "call" not in {i.name for i in code.instructions}
    assert len([i for i in code.instructions if i.name == "add"]) == 1


def test_a_guarded_call_is_jumped_over():
    code = entry(CALL.replace("call.uni", "@%p1 call").replace("FN", "twice"))
    skip = next(i for i in code.instructions if i.name == "bra" and i.predicate == Register("%p1", "pred"))
    assert skip.predicate_negated
    assert code.instructions[code.labels[skip.targets[0]]].operands[0] == Register("%r2", "b32")


def test_an_external_call_has_registers_for_operands():
    code = entry(CALL.replace("FN", "__nv_expf"), "")
    call = next(i for i in code.instructions if i.name == "call")
    results, name, arguments = call.operands
    assert name == Symbol("__nv_expf")
    assert arguments == Vector((code.instructions[0].operands[0],))
    assert results == Vector((code.instructions[2].operands[1],))
    assert results.items[0].bits == 32


def test_the_width_of_an_external_result_is_that_of_its_load():
    body = "{ .param .b64 a; .param .b64 r; st.param.b64 [a], %d1; call (r), __nv_exp, (a); ld.param.b64 %d2, [r]; }"
    call = next(i for i in entry(body, "").instructions if i.name == "call")
    assert call.operands[0].items[0].bits == 64


def test_narrow_parameters_are_extended():
    function = ".func f(.param .b8 in) { .reg .b16 %h<2>; ld.param.s8 %h1, [in]; ret; }"
    body = "{ .param .b8 a; st.param.b8 [a], %h1; call f, (a); }"
    store, load = entry(body, function).instructions[:2]
    assert store.opcode == ("cvt", "u16", "u8")
    assert load.opcode == ("cvt", "s16", "s8")


def test_vectors_are_passed_element_by_element():
    function = ".func f(.param .align 8 .b8 in[8]) { .reg .b32 %r<3>; ld.param.b32 %r1, [in+4]; ret; }"
    body = "{ .param .align 8 .b8 a[8]; st.param.v2.b32 [a], {%r1, %r2}; call f, (a); }"
    first, second, load = entry(body, function).instructions[:3]
    assert (first.operands[1].name, second.operands[1].name) == ("%r1", "%r2")
    assert load.operands[1] == second.operands[0]


def test_a_parameter_whose_address_is_taken_is_in_local_memory():
    function = (
        ".func f(.param .align 4 .b8 in[16]) { .reg .b64 %d<3>; .reg .b32 %r<2>;"
        " mov.b64 %d1, in; ld.local.b32 %r1, [%d1+8]; ret; }"
    )
    body = "{ .param .align 4 .b8 a[16]; st.param.b32 [a+8], %r1; call f, (a); }"
    code = entry(body, function)
    ((name, variable),) = code.variables.items()
    assert (variable.space, variable.size, variable.align) == ("local", 16, 4)
    store, address = code.instructions[:2]
    assert (store.opcode, store.operands[0]) == (("st", "local", "b32"), Address(Symbol(name), 8))
    assert address.operands[1] == Symbol(name)


def test_the_kernels_own_parameters_stay_loads():
    (load, _) = entry("ld.param.u32 %r1, [n];").instructions
    assert load.opcode == ("ld", "param", "u32")


@pytest.mark.parametrize(
    ("body", "functions", "message"),
    [
        (CALL.replace("FN", "twice"), TWICE.replace("add.s32 %r2, %r1, %r1;", CALL.replace("FN", "twice")), "calls itself"),
        ("call (%r1), %d1, (%r2);", "", "a call through a pointer"),
        ("{ .param .b8 a[8]; st.param.b32 [a], %r1; st.param.b32 [a+4], %r1; call f, (a); }", "", "a struct by value"),
        ("{ .param .b64 a; st.param.b64 [a], %d1; ld.param.b32 %r1, [a]; }" + CALL.replace("FN", "x"), "", "different sizes"),
        (CALL.replace("FN", "f"), ".func f() { ret; }", "the number of arguments"),
    ],
)
def test_a_call_that_cannot_be_inlined_is_refused(body, functions, message):
    with pytest.raises(UnsupportedInstruction, match=rf"PTX line \d+: not simulated: .*{message}"):
        entry(body, functions)
