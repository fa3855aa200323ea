"""Memory (PTX ISA 8.0, sections 9.7.8 and 9.7.12): loads, stores, state spaces, atomics, asynchronous copies."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simulator
from tests.simulator.formats import rows
from tests.simulator.opcodes import DTYPES, HEAD, apply, kernel
from tests.simulator.test_opcodes_integer import integers, wrap

LANE = ".reg .b32 %lane, %r<9>; .reg .b64 %a<9>; .reg .b16 %h<9>; .reg .pred %p<4>; mov.u32 %lane, %tid.x;\n"
WORDS = np.arange(32, dtype=np.uint32)


def run(body, threads=32, *, head="", shared=0, mode="fast", **arrays):
    """Run a body on arrays, which it changes in place; `%lane`, `%r`, `%a`, `%h` and `%p` registers are declared."""
    launched = kernel(LANE + body + "\nret;", tuple(arrays), head).launch(
        1, threads, tuple(arrays.values()), shared=shared, mode=mode
    )
    assert (launched.status, launched.findings) == ("ok", [])


def at(register, name, size):
    """Return code that puts the address of this lane's element of an array into a register."""
    return f"ld.param.u64 {register}, [{name}]; mad.wide.u32 {register}, %lane, {size}, {register};"


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize(("bits", "count"), [(b, n) for b in (8, 16, 32, 64) for n in (1, 2, 4) if b * n <= 128])
def test_vectors_are_loaded_and_stored_whole(bits, count, mode):
    size = count * bits // 8
    source = np.arange(32 * size, dtype=np.uint8)
    target = np.zeros_like(source)
    names = [f"v{i}" for i in range(count)]
    vector, kind = (f"{{{', '.join(names)}}}", f".v{count}") if count > 1 else ("v0", "")
    body = f".reg .b{max(bits, 16)} {', '.join(names)}; {at('%a1', 'x', size)} {at('%a2', 'y', size)}"
    run(
        f"{body} ld.global{kind}.b{bits} {vector}, [%a1]; st.global{kind}.b{bits} [%a2], {vector};",
        mode=mode,
        x=source,
        y=target,
    )
    assert target.tolist() == source.tolist()


def test_the_elements_of_a_vector_stand_in_order():
    x, y = np.arange(128, dtype=np.float32), np.zeros(128, np.float32)
    body = f"{at('%a1', 'x', 16)} {at('%a2', 'y', 16)} ld.global.v4.f32 {{%r1, %r2, %r3, %r4}}, [%a1];"
    run(f"{body} st.global.v2.f32 [%a2], {{%r4, %r3}}; st.global.v2.f32 [%a2+8], {{%r2, %r1}};", x=x, y=y)
    assert y.reshape(32, 4).tolist() == x.reshape(32, 4)[:, ::-1].tolist()


@pytest.mark.parametrize("type_", ["u8", "s8", "u16", "s16", "u32", "s32"])
@pytest.mark.parametrize("register", ["b32", "b64"])
@given(data=st.data())
def test_narrow_loads_fill_the_register(register, type_, data):
    if register == "b32" and type_[1:] == "32":
        type_ = "u16"
    (a,) = data.draw(rows(integers(type_)))
    array, size = np.array(a, DTYPES[type_]), int(type_[1:]) // 8
    code = f"ld.param.u64 %w, [a]; mad.wide.u32 %w, %lane, {size}, %w; ld.global.{type_} %d, [%w];"
    bits = int(register[1:])
    assert apply(code, f"u{bits}", a=array).tolist() == [x % 2**bits for x in a]


def test_stores_write_the_low_bits_only():
    y = np.zeros(64, np.uint8)
    run(f"{at('%a1', 'y', 2)} mov.u32 %r1, 0x12345678; st.global.u8 [%a1], %r1;", y=y)
    assert y.reshape(32, 2).tolist() == [[0x78, 0]] * 32


def test_parameters_of_every_type():
    types = {"u8": 200, "s8": -5, "u16": 60000, "s16": -300, "u32": 2**32 - 2, "s32": -70000, "u64": 2**63 + 1, "s64": -(2**40)}
    declared = ", ".join(f".param .{type_} p_{type_}" for type_ in types)
    loads = "".join(f"ld.param.{type_} %a1, [p_{type_}]; st.global.u64 [%a2+{8 * n}], %a1;" for n, type_ in enumerate(types))
    text = f"{HEAD}.visible .entry k(.param .u64 y, {declared}, .param .f32 f, .param .f64 g) {{ {LANE} ld.param.u64 %a2, [y];"
    floats = "ld.param.f32 %r1, [f]; st.global.u32 [%a2+64], %r1; ld.param.f64 %a1, [g]; st.global.f64 [%a2+72], %a1;"
    y = np.zeros(10, np.uint64)
    simulator.Module.from_ptx(f"{text} {loads} {floats} ret; }}").kernel("k").launch(1, 1, (y, *types.values(), 1.5, -2.25))
    assert y[:8].tolist() == [value % 2**64 for value in types.values()]
    assert y[8:9].view(np.float32)[0] == 1.5
    assert y[9:].view(np.float64)[0] == -2.25


def test_variables_of_the_module_start_with_their_values():
    head = """.const .align 4 .f32 weights[3] = {0f3F800000, 0f40000000, 0fC0400000};
    .global .align 8 .u64 where[1] = {generic(weights)+8};
    .global .align 4 .u32 counter = 41;
    """
    y = np.zeros(3, np.float32)
    body = """ld.param.u64 %a1, [y]; ld.const.f32 %r1, [weights+4]; st.global.f32 [%a1], %r1;
    ld.global.u64 %a2, [where]; ld.f32 %r2, [%a2]; st.global.f32 [%a1+4], %r2;
    mov.u64 %a3, counter; ld.global.u32 %r3, [%a3]; add.u32 %r3, %r3, 1; cvt.rn.f32.u32 %r3, %r3; st.global.f32 [%a1+8], %r3;"""
    run(body, 1, head=head, y=y)
    assert y.tolist() == [2.0, -3.0, 42.0]


def test_every_lane_has_local_memory_of_its_own():
    """Each lane writes its number into its own table and reads it back by an index of its own."""
    body = f"""{{ .local .align 4 .b8 table[128]; .reg .b64 t; mov.u64 t, table; mov.u32 %r1, 0;
    FILL: mul.lo.u32 %r2, %r1, 100; add.u32 %r2, %r2, %lane; mad.wide.u32 %a1, %r1, 4, t; st.local.u32 [%a1], %r2;
    add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 32; @%p1 bra FILL;
    sub.u32 %r3, 31, %lane; mad.wide.u32 %a1, %r3, 4, t; cvta.local.u64 %a2, %a1; ld.u32 %r4, [%a2];
    {at("%a3", "y", 4)} st.global.u32 [%a3], %r4; }}"""
    y = np.zeros(32, np.uint32)
    run(body, y=y)
    assert y.tolist() == [(31 - lane) * 100 + lane for lane in range(32)]


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_shared_memory_static_and_dynamic(mode):
    body = f"""{{ .shared .align 4 .b8 fixed[256]; .reg .b64 s; mov.u64 s, fixed; mad.wide.u32 %a1, %lane, 4, s;
    st.shared.u32 [%a1], %lane; mov.u64 s, pool; mad.wide.u32 %a2, %lane, 4, s; add.u32 %r1, %lane, 1000;
    st.shared.u32 [%a2], %r1; bar.sync 0; mov.u32 %r2, %ntid.x; sub.u32 %r2, %r2, 1; sub.u32 %r2, %r2, %lane;
    mov.u64 s, fixed; mad.wide.u32 %a1, %r2, 4, s; ld.shared.u32 %r3, [%a1];
    mov.u64 s, pool; mad.wide.u32 %a2, %r2, 4, s; ld.shared.u32 %r4, [%a2];
    {at("%a3", "y", 8)} st.global.v2.u32 [%a3], {{%r3, %r4}}; }}"""
    y = np.zeros((64, 2), np.uint32)
    run(body, 64, head=".extern .shared .align 16 .b8 pool[];\n", shared=256, mode=mode, y=y)
    assert y.tolist() == [[63 - n, 1063 - n] for n in range(64)]


def test_generic_addresses_reach_every_space():
    body = f"""{{ .shared .align 4 .b8 box[4]; .local .align 4 .b8 own[4]; mov.u64 %a1, box; cvta.shared.u64 %a2, %a1;
    mov.u64 %a3, own; cvta.local.u64 %a4, %a3; ld.param.u64 %a5, [y]; cvta.to.global.u64 %a6, %a5;
    mov.u32 %r1, 7; st.u32 [%a2], %r1; ld.shared.u32 %r2, [box]; add.u32 %r2, %r2, 1; st.u32 [%a4], %r2;
    ld.local.u32 %r3, [own]; st.u32 [%a5], %r3;
    cvta.to.shared.u64 %a7, %a2; sub.u64 %a7, %a7, %a1; st.global.u32 [%a6+4], %a7;
    {"".join(_asked(space, register, 8 + 4 * n) for n, (space, register) in enumerate(_QUESTIONS))} }}"""
    y = np.full(2 + len(_QUESTIONS), 9, np.uint32)
    run(body, 1, y=y)
    assert y.tolist() == [8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]


_QUESTIONS = [(space, register) for register in ("%a2", "%a4", "%a5") for space in ("shared", "local", "global")]


def _asked(space, register, offset):
    question = f"isspacep.{space} %p1, {register}; selp.u32 %r4, 1, 0, %p1;"
    return f"{question} st.global.u32 [%a6+{offset}], %r4;"


REDUCTIONS = {
    "add": lambda a, b: a + b,
    "min": min,
    "max": max,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}
ATOMICS = [(name, t) for name in ("add", "min", "max") for t in ("u32", "s32", "u64", "s64")] + [
    (name, t) for name in ("and", "or", "xor") for t in ("b32", "b64")
]
ATOMICS.remove(("add", "s64"))


@pytest.mark.parametrize("space", ["global", "shared"])
@pytest.mark.parametrize(("name", "type_"), ATOMICS)
@given(data=st.data())
def test_all_lanes_meet_in_one_word(name, type_, space, data):
    """The word ends as the reduction; each lane gets the reduction of the lanes before it, in some order."""
    integer = type_.replace("b", "u")
    start, values_ = data.draw(integers(integer)), data.draw(st.lists(integers(integer), min_size=4, max_size=4))
    size = int(type_[1:]) // 8
    x, y = np.array([start], DTYPES[integer]), np.array(values_, DTYPES[integer])
    old = np.zeros_like(y)
    word, value = ("%a4", "%a5") if size == 8 else ("%r4", "%r5")
    back = f"ld.shared.b{8 * size} {word}, [box]; @%p1 st.global.b{8 * size} [%a1], {word};"
    body = f"""{{ .shared .align 8 .b8 box[8]; ld.param.u64 %a1, [x]; {at("%a2", "y", size)} {at("%a3", "old", size)}
    ld.global.b{8 * size} {value}, [%a2]; setp.eq.u32 %p1, %lane, 0; ld.global.b{8 * size} {word}, [%a1];
    @%p1 st.shared.b{8 * size} [box], {word}; bar.sync 0;
    atom.{space}.{name}.{type_} {word}, [{"box" if space == "shared" else "%a1"}], {value}; st.global.b{8 * size} [%a3], {word};
    bar.sync 0; {back if space == "shared" else ""} }}"""
    run(body, 4, x=x, y=y, old=old)
    assert x[0] == wrap(reduce(REDUCTIONS[name], values_, start), integer)
    assert start in old.tolist()
    finals = {wrap(REDUCTIONS[name](int(before), v), integer) for before, v in zip(old, values_, strict=True)}
    assert int(x[0]) in finals


@pytest.mark.parametrize("type_", ["f32", "f64"])
@pytest.mark.parametrize("form", ["atom", "red"])
def test_floats_are_added(form, type_):
    size = int(type_[1:]) // 8
    x, y = np.zeros(1, DTYPES[type_]), np.arange(32, dtype=DTYPES[type_]) / 4
    value, old = ("%a3", "%a4") if size == 8 else ("%r3", "%r4")
    destination = f"{old}, " if form == "atom" else ""
    body = f"ld.param.u64 %a1, [x]; {at('%a2', 'y', size)} ld.global.{type_} {value}, [%a2];"
    run(f"{body} {form}.global.add.{type_} {destination}[%a1], {value};", x=x, y=y)
    assert x[0] == y.sum()


def test_exchange_and_compare_and_swap():
    x, old = np.array([7, 7], np.uint32), np.zeros(64, np.uint32)
    body = f"ld.param.u64 %a1, [x]; {at('%a2', 'old', 8)} add.u32 %r1, %lane, 100;"
    run(
        f"{body} atom.global.exch.b32 %r2, [%a1], %r1; atom.global.cas.b32 %r3, [%a1+4], 7, %r1;"
        "st.global.v2.u32 [%a2], {%r2, %r3};",
        x=x,
        old=old,
    )
    exchanged, swapped = old.reshape(32, 2).T.tolist()
    assert sorted([*exchanged, int(x[0])]) == sorted([7, *range(100, 132)])
    assert swapped.count(7) == 1
    assert set(swapped) == {7, int(x[1])}
    assert x[1] == 100 + swapped.index(7)


def test_counters_wrap_at_their_limit():
    x, old = np.array([0, 3], np.uint32), np.zeros(64, np.uint32)
    body = f"ld.param.u64 %a1, [x]; {at('%a2', 'old', 8)}"
    run(
        f"{body} atom.global.inc.u32 %r2, [%a1], 4; atom.global.dec.u32 %r3, [%a1+4], 4; st.global.v2.u32 [%a2], {{%r2, %r3}};",
        x=x,
        old=old,
    )
    up, down = old.reshape(32, 2).T.tolist()
    assert sorted(up) == sorted(n % 5 for n in range(32))
    assert sorted(down) == sorted((3 - n) % 5 for n in range(32))
    assert x.tolist() == [32 % 5, (3 - 32) % 5]


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize(("cache", "size"), [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)])
def test_asynchronous_copies_to_shared_memory(cache, size, mode):
    x = np.arange(32 * size, dtype=np.uint8)
    y = np.zeros_like(x)
    wait = "cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;"
    read = " ".join(f"ld.shared.u32 %r2, [%a3+{offset}]; st.global.u32 [%a2+{offset}], %r2;" for offset in range(0, size, 4))
    body = f"""{{ .shared .align 16 .b8 box[{32 * size}]; .reg .b64 s; mov.u64 s, box; mad.wide.u32 %a3, %lane, {size}, s;
    cvt.u32.u64 %r1, %a3; {at("%a1", "x", size)} {at("%a2", "y", size)}
    cp.async.{cache}.shared.global [%r1], [%a1], {size}; {wait} {read} }}"""
    run(body, mode=mode, x=x, y=y)
    assert y.tolist() == x.tolist()


@pytest.mark.parametrize("mode", ["fast", "checked"])
def test_an_asynchronous_copy_fills_the_rest_with_zeros(mode):
    x, y = np.arange(512, dtype=np.uint32).astype(np.uint8) | 1, np.full(512, 9, np.uint8)
    body = f"""{{ .shared .align 16 .b8 box[512]; .reg .b64 s; mov.u64 s, box; mad.wide.u32 %a3, %lane, 16, s;
    cvt.u32.u64 %r1, %a3; {at("%a1", "x", 16)} {at("%a2", "y", 16)} rem.u32 %r2, %lane, 17;
    cp.async.cg.shared.global [%r1], [%a1], 16, %r2; cp.async.wait_all; bar.sync 0;
    ld.shared.v4.u32 {{%r3, %r4, %r5, %r6}}, [%a3]; st.global.v4.u32 [%a2], {{%r3, %r4, %r5, %r6}}; }}"""
    run(body, mode=mode, x=x, y=y)
    expected = x.reshape(32, 16).copy()
    for lane in range(32):
        expected[lane, lane % 17 :] = 0
    assert y.reshape(32, 16).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "instruction",
    ["membar.gl;", "fence.acq_rel.gpu;", "prefetch.global.L2 [%a1];", "nanosleep.u32 20;", "cp.async.commit_group;"],
)
def test_hints_and_fences_change_nothing(instruction):
    y = WORDS.copy()
    run(f"{at('%a1', 'y', 4)} {instruction}", y=y)
    assert y.tolist() == WORDS.tolist()
