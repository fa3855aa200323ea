"""Logic, shifts and bit fields (PTX ISA 8.0, sections 9.7.1 and 9.7.7), against Python's integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.formats import rows
from tests.simulator.opcodes import DTYPES, apply

WIDTHS = (16, 32, 64)
LOGIC = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b}
place = st.one_of(st.integers(0, 64), st.integers(0, 2**32 - 1))
shift = st.one_of(st.integers(0, 70), st.integers(0, 2**32 - 1))


def words(bits):
    """Return a strategy for bit patterns; single bits and runs are likely."""
    return st.one_of(
        st.integers(0, 2**bits - 1), st.integers(0, bits).map(lambda n: 2**n - 1), st.integers(0, bits - 1).map(lambda n: 2**n)
    )


def signed(value, bits):
    """Return the pattern's value in two's complement."""
    return value - 2**bits if value >> bits - 1 else value


def run(code, bits, result=None, **columns):
    """Return the results of an instruction for columns of patterns; columns named `n...` have 32 bits."""
    inputs = {name: np.array(column, f"u{4 if name[0] == 'n' else bits // 8}") for name, column in columns.items()}
    return apply(code, f"b{result or bits}", **inputs).tolist()


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", LOGIC)
@given(data=st.data())
def test_logic(name, bits, data):
    a, b = data.draw(rows(words(bits), words(bits)))
    assert run(f"{name}.b{bits} %d, %a, %b;", bits, a=a, b=b) == list(map(LOGIC[name], a, b))


@pytest.mark.parametrize("bits", WIDTHS)
@given(data=st.data())
def test_negation(bits, data):
    (a,) = data.draw(rows(words(bits)))
    assert run(f"not.b{bits} %d, %a;", bits, a=a) == [~x % 2**bits for x in a]


@pytest.mark.parametrize("name", LOGIC)
@given(columns=rows(st.booleans(), st.booleans()))
def test_logic_of_predicates(name, columns):
    a, b = columns
    actual = apply(f"{name}.pred %d, %a, %b;", "pred", a=np.array(a), b=np.array(b))
    assert actual.tolist() == list(map(LOGIC[name], a, b))
    assert apply("not.pred %d, %a;", "pred", a=np.array(a)).tolist() == [not x for x in a]


@given(rows(*3 * [words(32)]), st.integers(0, 255))
def test_any_logic_of_three(columns, table):
    a, b, c = columns
    actual = run(f"lop3.b32 %d, %a, %b, %c, {table};", 32, a=a, b=b, c=c)
    expected = [
        sum((table >> ((x >> i & 1) << 2 | (y >> i & 1) << 1 | z >> i & 1) & 1) << i for i in range(32))
        for x, y, z in zip(a, b, c, strict=True)
    ]
    assert actual == expected


@pytest.mark.parametrize("bits", WIDTHS)
@given(data=st.data())
def test_shifts_stop_at_the_width(bits, data):
    a, n = data.draw(rows(words(bits), shift))
    pairs = [(x, min(y, bits)) for x, y in zip(a, n, strict=True)]
    assert run(f"shl.b{bits} %d, %a, %n;", bits, a=a, n=n) == [(x << y) % 2**bits for x, y in pairs]
    assert run(f"shr.u{bits} %d, %a, %n;", bits, a=a, n=n) == [x >> y for x, y in pairs]
    assert run(f"shr.b{bits} %d, %a, %n;", bits, a=a, n=n) == [x >> y for x, y in pairs]
    assert run(f"shr.s{bits} %d, %a, %n;", bits, a=a, n=n) == [(signed(x, bits) >> y) % 2**bits for x, y in pairs]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 31, 32, 33, 63, 64, 100])
@pytest.mark.parametrize("bits", WIDTHS)
def test_shifts_by_literals_stop_at_the_width(bits, count):
    a = [1, 2**bits - 1, 2 ** (bits - 1), 0x1234]
    n = min(count, bits)
    assert run(f"shl.b{bits} %d, %a, {count};", bits, a=a) == [(x << n) % 2**bits for x in a]
    assert run(f"shr.u{bits} %d, %a, {count};", bits, a=a) == [x >> n for x in a]
    assert run(f"shr.s{bits} %d, %a, {count};", bits, a=a) == [(signed(x, bits) >> n) % 2**bits for x in a]


@given(rows(words(32), words(32), shift), st.sampled_from(["wrap", "clamp"]))
def test_funnel_shifts(columns, mode):
    a, b, n = columns
    counts = [y & 31 if mode == "wrap" else min(y, 32) for y in n]
    pairs = [(hi << 32 | lo, count) for lo, hi, count in zip(a, b, counts, strict=True)]
    assert run(f"shf.l.{mode}.b32 %d, %a, %b, %n;", 32, a=a, b=b, n=n) == [(x << y >> 32) % 2**32 for x, y in pairs]
    assert run(f"shf.r.{mode}.b32 %d, %a, %b, %n;", 32, a=a, b=b, n=n) == [(x >> y) % 2**32 for x, y in pairs]


@pytest.mark.parametrize("type_", ["u32", "s32", "u64", "s64"])
@given(data=st.data())
def test_bit_field_extract(type_, data):
    """The ISA's own words: the field is cut at the top and, if signed, filled with its highest bit."""
    bits = int(type_[1:])
    a, p, n = data.draw(rows(words(bits), place, place))
    expected = []
    for value, position, length in zip(a, [x & 255 for x in p], [x & 255 for x in n], strict=True):
        top = min(position + length - 1, bits - 1)
        sign = value >> top & 1 if type_[0] == "s" and length else 0
        field = [value >> position + i & 1 if i < length and position + i < bits else sign for i in range(bits)]
        expected.append(sum(bit << i for i, bit in enumerate(field)))
    assert run(f"bfe.{type_} %d, %a, %n0, %n1;", bits, a=a, n0=p, n1=n) == expected
    assert run(f"bfe.{type_} %d, %a, {p[0]}, {n[0]};", bits, a=a[:1]) == expected[:1]


@pytest.mark.parametrize("bits", [32, 64])
@given(data=st.data())
def test_bit_field_insert(bits, data):
    a, b, p, n = data.draw(rows(words(bits), words(bits), place, place))
    expected = []
    for field, base, position, length in zip(a, b, p, n, strict=True):
        mask = (2 ** (length & 255) - 1 << (position & 255)) % 2**bits
        expected.append(base & ~mask | field << (position & 255) & mask)
    assert run(f"bfi.b{bits} %d, %a, %b, %n0, %n1;", bits, a=a, b=b, n0=p, n1=n) == expected
    assert run(f"bfi.b{bits} %d, %a, %b, {p[0]}, {n[0]};", bits, a=a[:1], b=b[:1]) == expected[:1]


def permuted(a, b, selectors):
    """Return four bytes of eight by their selectors; the high bit of one spreads the byte's sign."""
    pool = (b << 32 | a).to_bytes(8, "little")
    picked = [pool[s & 7] if not s & 8 else 0xFF * (pool[s & 7] >> 7) for s in selectors]
    return int.from_bytes(bytes(picked), "little")


@given(rows(words(32), words(32), st.integers(0, 2**32 - 1)))
def test_byte_permutation(columns):
    a, b, n = columns
    expected = [permuted(x, y, [c >> 4 * i & 15 for i in range(4)]) for x, y, c in zip(a, b, n, strict=True)]
    assert run("prmt.b32 %d, %a, %b, %n;", 32, a=a, b=b, n=n) == expected


@given(words(32), words(32), st.integers(0, 0xFFFF))
def test_byte_permutation_by_a_literal(a, b, selector):
    expected = permuted(a, b, [selector >> 4 * i & 15 for i in range(4)])
    assert run(f"prmt.b32 %d, %a, %b, {selector:#x};", 32, a=[a], b=[b]) == [expected]


@pytest.mark.parametrize("bits", [32, 64])
@given(data=st.data())
def test_counting_bits(bits, data):
    (a,) = data.draw(rows(words(bits)))
    assert run(f"popc.b{bits} %d, %a;", bits, 32, a=a) == [x.bit_count() for x in a]
    assert run(f"clz.b{bits} %d, %a;", bits, 32, a=a) == [bits - x.bit_length() for x in a]
    assert run(f"brev.b{bits} %d, %a;", bits, a=a) == [int(f"{x:0{bits}b}"[::-1], 2) for x in a]


@pytest.mark.parametrize("type_", ["u32", "s32", "u64", "s64"])
@given(data=st.data())
def test_the_highest_bit_that_is_not_the_sign(type_, data):
    bits = int(type_[1:])
    (a,) = data.draw(rows(words(bits)))
    magnitudes = [~signed(x, bits) if type_[0] == "s" and signed(x, bits) < 0 else x for x in a]
    actual = [(m.bit_length() - 1) % 2**32 for m in magnitudes]
    assert run(f"bfind.{type_} %d, %a;", bits, 32, a=a) == actual
    shifts = [(bits - m.bit_length()) if m else 2**32 - 1 for m in magnitudes]
    assert run(f"bfind.shiftamt.{type_} %d, %a;", bits, 32, a=a) == shifts


@pytest.mark.parametrize(("whole", "part"), [("b32", "b16"), ("b64", "b32")])
@given(data=st.data())
def test_registers_are_split_and_joined(whole, part, data):
    bits = int(part[1:])
    (a,) = data.draw(rows(words(2 * bits)))
    split = f"{{ .reg .{part} lo, hi; mov.{whole} {{lo, hi}}, %a; mov.{part} %d, hi; }}"
    assert run(split, 2 * bits, bits, a=a) == [x >> bits for x in a]
    swap = f"{{ .reg .{part} lo, hi; mov.{whole} {{lo, hi}}, %a; mov.{whole} %d, {{hi, lo}}; }}"
    assert run(swap, 2 * bits, a=a) == [x >> bits | x % 2**bits << bits for x in a]


def test_a_word_is_four_halves():
    a = np.array([0x0004000300020001], DTYPES["b64"])
    code = "{ .reg .b16 p, q, r, s; mov.b64 {p, q, r, s}, %a; mov.b64 %d, {s, r, q, p}; }"
    assert apply(code, "b64", a=a).tolist() == [0x0001000200030004]
