"""Tensor cores (PTX ISA 8.0, section 9.7.13): mma.sync and ldmatrix, with the ISA's fragment layouts written out here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.formats import pack
from tests.simulator.opcodes import kernel

LANES = range(32)


def halves(row, columns):
    """Return the places of the two halves of a register: neighbours in a row."""
    return [(row, columns), (row, columns + 1)]


def a_places(lane, k, form):
    """Return the (row, column) of every element of A that a lane holds, register by register."""
    g, t = lane >> 2, lane & 3
    if form == "tf32":
        return [(g + 8 * (i & 1), t + 4 * (i >> 1)) for i in range(k // 2)]
    return [place for i in range(k // 4) for place in halves(g + 8 * (i & 1), 2 * t + 8 * (i >> 1))]


def b_places(lane, k, form):
    """Return the (row, column) of every element of B that a lane holds: down a column."""
    g, t = lane >> 2, lane & 3
    if form == "tf32":
        return [(t + 4 * i, g) for i in range(k // 4)]
    return [(2 * t + 8 * i + half, g) for i in range(k // 8) for half in (0, 1)]


def c_places(lane):
    """Return the (row, column) of the four elements of C or D that a lane holds."""
    g, t = lane >> 2, lane & 3
    return [(g + 8 * (i >> 1), 2 * t + (i & 1)) for i in range(4)]


def fragment(matrix, places, form):
    """Return the registers of all lanes as words, 32 by registers."""
    picked = pack([[matrix[place] for place in places(lane)] for lane in LANES], form)
    return np.ascontiguousarray(picked).view(np.uint32)


SHAPES = [
    ("m16n8k8", "f16", "f32"),
    ("m16n8k16", "f16", "f32"),
    ("m16n8k8", "f16", "f16"),
    ("m16n8k16", "f16", "f16"),
    ("m16n8k8", "bf16", "f32"),
    ("m16n8k16", "bf16", "f32"),
    ("m16n8k4", "tf32", "f32"),
    ("m16n8k8", "tf32", "f32"),
]


def multiply(shape, form, result, a, b, c):
    """Return D = A B + C as one warp computes it."""
    k = int(shape.rpartition("k")[2])
    frames = {
        "a": fragment(a, lambda lane: a_places(lane, k, form), form),
        "b": fragment(b, lambda lane: b_places(lane, k, form), form),
        "c": fragment(c, c_places, result),
    }
    d = np.zeros_like(frames["c"])
    counts = {name: frame.shape[1] for name, frame in (*frames.items(), ("d", d))}
    lists = {name: ", ".join(f"{name}{i}" for i in range(count)) for name, count in counts.items()}
    body = [".reg .b32 %lane; .reg .b64 %p; mov.u32 %lane, %tid.x;"]
    for name, count in counts.items():
        body += [f".reg .b32 {lists[name]}; ld.param.u64 %p, [p_{name}]; mad.wide.u32 %p, %lane, {4 * count}, %p;"]
        body += [f"ld.global.b32 {name}{i}, [%p+{4 * i}];" for i in range(count) if name != "d"]
    types = f"{result}.{form}.{form}.{result}"
    operands = ", ".join(f"{{{lists[name]}}}" for name in "dabc")
    body += [f"mma.sync.aligned.{shape}.row.col.{types} {operands};"]
    body += [f"st.global.b32 [%p+{4 * i}], d{i};" for i in range(counts["d"])]
    launched = kernel("\n".join([*body, "ret;"]), tuple(f"p_{name}" for name in counts)).launch(
        1, 32, (*(frames[name].reshape(-1) for name in "abc"), d.reshape(-1))
    )
    assert launched.status == "ok"
    elements = d.view(np.float32 if result == "f32" else np.float16)
    actual = np.zeros((16, 8))
    for lane in LANES:
        for place, value in zip(c_places(lane), elements[lane], strict=True):
            actual[place] = value
    return actual


def matrices(seed, k, draw):
    """Return A, B and C with elements that `draw` makes from a generator and a shape."""
    random = np.random.default_rng(seed)
    return draw(random, (16, k)), draw(random, (k, 8)), draw(random, (16, 8))


@pytest.mark.parametrize(("shape", "form", "result"), SHAPES)
@given(seed=st.integers(0, 2**32))
def test_products_of_small_integers_are_exact(shape, form, result, seed):
    a, b, c = matrices(seed, int(shape.rpartition("k")[2]), lambda random, size: random.integers(-8, 9, size).astype(float))
    assert multiply(shape, form, result, a, b, c).tolist() == (a @ b + c).tolist()


@pytest.mark.parametrize(("shape", "form", "result"), SHAPES)
def test_products_of_reals_are_close(shape, form, result):
    """The order of the sum is the hardware's own affair: only its size is bounded."""
    k = int(shape.rpartition("k")[2])
    a, b, c = matrices(1, k, lambda random, size: random.standard_normal(size))
    exact = [np.array(pack(m, f), copy=True) for m, f in ((a, form), (b, form), (c, result))]
    a, b, c = (
        (x.astype(np.uint32) << 16).view(np.float32)
        if f == "bf16"
        else (x & np.uint32(0xFFFFE000)).view(np.float32)
        if f == "tf32"
        else x
        for x, f in zip(exact, (form, form, result), strict=True)
    )
    a, b, c = (m.astype(np.float64) for m in (a, b, c))
    bound = (k + 1) * (2.0**-22 if result == "f32" else 2.0**-10) * (np.abs(a) @ np.abs(b) + np.abs(c))
    assert (np.abs(multiply(shape, form, result, a, b, c) - (a @ b + c)) <= bound).all()


def test_one_element_goes_where_the_layout_says():
    a, b, c = np.zeros((16, 16)), np.zeros((16, 8)), np.zeros((16, 8))
    a[11, 6], b[6, 5] = 2.0, 3.0
    actual = multiply("m16n8k16", "bf16", "f32", a, b, c)
    assert actual[11, 5] == 6.0
    assert np.count_nonzero(actual) == 1


@pytest.mark.parametrize("mode", ["fast", "checked"])
@pytest.mark.parametrize("transposed", ["", ".trans"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_matrices_are_loaded_from_shared_memory(count, transposed, mode):
    """Rows of matrix i are where lanes 8i to 8i+7 point; lane l gets two neighbours of row l/4 (of column l/4)."""
    x = np.arange(count * 64, dtype=np.uint16)
    y = np.zeros((32, count), np.uint32)
    registers = ", ".join(f"r{i}" for i in range(count))
    body = f""".reg .b32 %lane, %s, %row, {registers}; .reg .b64 %p, %q, %box; .reg .pred %in; mov.u32 %lane, %tid.x;
    .shared .align 16 .b8 box[512]; mov.u64 %box, box;
    ld.param.u64 %p, [x]; mad.wide.u32 %p, %lane, 16, %p; mad.wide.u32 %q, %lane, 16, %box;
    .reg .b32 w0, w1, w2, w3; setp.lt.u32 %in, %lane, {8 * count}; @!%in bra READY;
    ld.global.v4.b32 {{w0, w1, w2, w3}}, [%p]; st.shared.v4.b32 [%q], {{w0, w1, w2, w3}};
    READY: bar.sync 0; rem.u32 %row, %lane, {8 * count}; mad.wide.u32 %q, %row, 16, %box; cvt.u32.u64 %s, %q;
    ldmatrix.sync.aligned.m8n8.x{count}{transposed}.shared.b16 {{{registers}}}, [%s];
    ld.param.u64 %p, [y]; mad.wide.u32 %p, %lane, {4 * count}, %p;
    {" ".join(f"st.global.b32 [%p+{4 * i}], r{i};" for i in range(count))} ret;"""
    launched = kernel(body, ("x", "y")).launch(1, 32, (x, y.reshape(-1)), mode=mode)
    assert (launched.status, launched.findings) == ("ok", [])
    for i, rows in enumerate(x.reshape(count, 8, 8)):
        matrix = rows.T if transposed else rows
        expected = [int(matrix[lane // 4, 2 * (lane % 4)]) | int(matrix[lane // 4, 2 * (lane % 4) + 1]) << 16 for lane in LANES]
        assert y[:, i].tolist() == expected
