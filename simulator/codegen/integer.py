"""Integer arithmetic, logic, shifts and bit fields (PTX ISA sections 9.7.1 and 9.7.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import MASK, ZERO, floats, ints
from simulator.codegen.warp_emitter import refuse
from simulator.ptx.model import BITS, Immediate

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction, Operand

__all__ = ["TRANSLATORS"]


def _is_signed(instruction: Instruction) -> bool:
    return instruction.type.startswith("s")


def _binary(opcode: str) -> Callable[[WarpEmitter, Instruction], None]:
    def translate(emitter: WarpEmitter, instruction: Instruction) -> None:
        target, left, right = instruction.operands
        if instruction.type == "pred":
            value = emitter.op(opcode, MASK, emitter.read_predicate(left), emitter.read_predicate(right))
            emitter.write_predicate(target, value, instruction)
            return
        bits = BITS[instruction.type]
        value = emitter.op(opcode, ints(bits), emitter.read(left, bits), emitter.read(right, bits))
        emitter.write(target, value, bits, instruction)

    return translate


def _sum(opcode: str) -> Callable[[WarpEmitter, Instruction], None]:
    plain = _binary(opcode)

    def translate(emitter: WarpEmitter, instruction: Instruction) -> None:
        if instruction.has("cc"):
            raise refuse(instruction)
        if not instruction.has("sat"):
            plain(emitter, instruction)
            return
        target, left, right = instruction.operands
        kind = ints(32)
        value = emitter.integer_intrinsic(f"s{opcode}.sat", 32, (kind, emitter.read(left, 32)), (kind, emitter.read(right, 32)))
        emitter.write(target, value, 32, instruction)

    return translate


def _product(emitter: WarpEmitter, instruction: Instruction) -> tuple[str, int]:
    """Return the product as .lo, .hi or .wide asks for, and its width."""
    bits, sign = BITS[instruction.type], _is_signed(instruction)
    left, right = (emitter.read(operand, bits) for operand in instruction.operands[1:3])
    if not (instruction.has("wide") or instruction.has("hi")):
        return emitter.op("mul", ints(bits), left, right), bits
    wide = 2 * bits
    left, right = (emitter.resize(value, bits, wide, sign=sign) for value in (left, right))
    product = emitter.op("mul", ints(wide), left, right)
    if instruction.has("wide"):
        return product, wide
    upper = emitter.op("lshr", ints(wide), product, emitter.constant(bits, wide))
    return emitter.resize(upper, wide, bits), bits


def _multiply(emitter: WarpEmitter, instruction: Instruction) -> None:
    product, bits = _product(emitter, instruction)
    emitter.write(instruction.operands[0], product, bits, instruction)


def _multiply_add(emitter: WarpEmitter, instruction: Instruction) -> None:
    if instruction.has("cc") or instruction.has("sat"):
        raise refuse(instruction)
    product, bits = _product(emitter, instruction)
    total = emitter.op("add", ints(bits), product, emitter.read(instruction.operands[3], bits))
    emitter.write(instruction.operands[0], total, bits, instruction)


def _divide(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Divide; by zero the quotient has all bits set and the remainder is the dividend, as on the devices measured.

    Up to 32 bits a double quotient, cut to an integer, is exact.
    """
    target, left, right = instruction.operands
    bits, sign, rest = BITS[instruction.type], _is_signed(instruction), instruction.name == "rem"
    kind = ints(bits)
    dividend, divisor = emitter.read(left, bits), emitter.read(right, bits)
    by_zero = emitter.op("icmp eq", kind, divisor, ZERO)
    safe = emitter.select(by_zero, kind, emitter.constant(1, bits), divisor)
    if bits <= BITS["b32"]:
        to_double = "sitofp" if sign else "uitofp"
        quotient = emitter.op(
            "fdiv",
            floats(64),
            emitter.cast(to_double, kind, dividend, floats(64)),
            emitter.cast(to_double, kind, safe, floats(64)),
        )
        quotient = emitter.resize(emitter.cast("fptosi", floats(64), quotient, ints(64)), 64, bits)
    else:
        quotient = _divide_long(emitter, dividend, safe, sign=sign)
    value = quotient
    if rest:
        value = emitter.op("sub", kind, dividend, emitter.op("mul", kind, quotient, safe))
    value = emitter.select(by_zero, kind, dividend if rest else emitter.constant(-1, bits), value)
    emitter.write(target, value, bits, instruction)


def _divide_long(emitter: WarpEmitter, dividend: str, divisor: str, *, sign: bool) -> str:
    """Divide 64-bit integers in the active lanes; a divisor of -1 is handled apart, since the CPU may trap."""
    kind, one = ints(64), emitter.constant(1, 64)
    divisor = emitter.select(emitter.active, kind, divisor, one)
    if not sign:
        return emitter.op("udiv", kind, dividend, divisor)
    minus = emitter.op("icmp eq", kind, divisor, emitter.constant(-1, 64))
    quotient = emitter.op("sdiv", kind, dividend, emitter.select(minus, kind, one, divisor))
    return emitter.select(minus, kind, emitter.op("sub", kind, ZERO, dividend), quotient)


def _negate(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, source = instruction.operands
    bits = BITS[instruction.type]
    emitter.write(target, emitter.op("sub", ints(bits), ZERO, emitter.read(source, bits)), bits, instruction)


def _absolute(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, source = instruction.operands
    bits = BITS[instruction.type]
    value = emitter.integer_intrinsic("abs", bits, (ints(bits), emitter.read(source, bits)), ("i1", "false"))
    emitter.write(target, value, bits, instruction)


def _extremum(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, left, right = instruction.operands
    bits = BITS[instruction.type]
    name = ("s" if _is_signed(instruction) else "u") + instruction.name
    pair = [(ints(bits), emitter.read(operand, bits)) for operand in (left, right)]
    value = emitter.integer_intrinsic(name, bits, *pair)
    if instruction.has("relu"):
        value = emitter.integer_intrinsic("smax", bits, (ints(bits), value), (ints(bits), ZERO))
    emitter.write(target, value, bits, instruction)


def _sum_of_differences(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, left, right, addend = instruction.operands
    bits = BITS[instruction.type]
    kind, prefix = ints(bits), "s" if _is_signed(instruction) else "u"
    pair = [(kind, emitter.read(operand, bits)) for operand in (left, right)]
    upper, lower = (emitter.integer_intrinsic(prefix + name, bits, *pair) for name in ("max", "min"))
    total = emitter.op("add", kind, emitter.op("sub", kind, upper, lower), emitter.read(addend, bits))
    emitter.write(target, total, bits, instruction)


# logic and shifts


def _not(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, source = instruction.operands
    if instruction.type == "pred":
        emitter.write_predicate(target, emitter.read_predicate(source, negated=True), instruction)
        return
    bits = BITS[instruction.type]
    emitter.write(
        target, emitter.op("xor", ints(bits), emitter.read(source, bits), emitter.constant(-1, bits)), bits, instruction
    )


def _shift(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Shift; amounts beyond the width shift everything out (PTX ISA section 9.7.8.7)."""
    target, source, amount = instruction.operands
    bits = BITS[instruction.type]
    kind, value = ints(bits), emitter.read(source, bits)
    opcode = "shl" if instruction.name == "shl" else "ashr" if _is_signed(instruction) else "lshr"
    if isinstance(amount, Immediate):
        count = amount.value & 0xFFFFFFFF
        if count >= bits and opcode != "ashr":
            emitter.write(target, ZERO, bits, instruction)
        else:
            shifted = emitter.op(opcode, kind, value, emitter.constant(min(count, bits - 1), bits))
            emitter.write(target, shifted, bits, instruction)
        return
    count_of = emitter.read(amount, 32)
    beyond = emitter.op("icmp uge", ints(32), count_of, emitter.constant(bits))
    clamped = emitter.select(beyond, kind, emitter.constant(bits - 1, bits), emitter.resize(count_of, 32, bits))
    shifted = emitter.op(opcode, kind, value, clamped)
    if opcode != "ashr":
        shifted = emitter.select(beyond, kind, ZERO, shifted)
    emitter.write(target, shifted, bits, instruction)


def _joined(emitter: WarpEmitter, low: str, high: str) -> str:
    """Return 64-bit integers made of two 32-bit halves."""
    upper = emitter.op("shl", ints(64), emitter.resize(high, 32, 64), emitter.constant(32, 64))
    return emitter.op("or", ints(64), upper, emitter.resize(low, 32, 64))


def _funnel_shift(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, low, high, amount = instruction.operands
    kind, wide = ints(32), ints(64)
    count = emitter.read(amount, 32)
    if instruction.has("wrap"):
        count = emitter.op("and", kind, count, emitter.constant(31))
    else:
        count = emitter.integer_intrinsic("umin", 32, (kind, count), (kind, emitter.constant(32)))
    count = emitter.resize(count, 32, 64)
    both = _joined(emitter, emitter.read(low, 32), emitter.read(high, 32))
    if instruction.has("l"):
        shifted = emitter.op("lshr", wide, emitter.op("shl", wide, both, count), emitter.constant(32, 64))
    else:
        shifted = emitter.op("lshr", wide, both, count)
    emitter.write(target, emitter.resize(shifted, 64, 32), 32, instruction)


def _lookup_logic(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Apply any function of three bits, given as its truth table (PTX ISA section 9.7.8.6, lop3)."""
    target, *sources, table = instruction.operands
    if not isinstance(table, Immediate) or len(sources) != len("abc"):
        raise refuse(instruction)
    kind = ints(32)
    plain = [emitter.read(source, 32) for source in sources]
    inverse = [emitter.op("xor", kind, value, emitter.constant(-1)) for value in plain]
    total = ZERO
    for row in range(8):
        if not table.value >> row & 1:
            continue
        a, b, c = ((plain if row >> (2 - k) & 1 else inverse)[k] for k in range(3))
        term = emitter.op("and", kind, emitter.op("and", kind, a, b), c)
        total = term if total == ZERO else emitter.op("or", kind, total, term)
    emitter.write(target, total, 32, instruction)


def _permute_bytes(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Pick four of eight bytes; bit 3 of a selector repeats the byte's sign (PTX ISA section 9.7.9.7, prmt)."""
    if instruction.opcode not in {("prmt", "b32"), ("prmt", "b32", "b32")}:
        raise refuse(instruction)
    target, low, high, selector = instruction.operands
    kind, wide = ints(32), ints(64)
    both = _joined(emitter, emitter.read(low, 32), emitter.read(high, 32))
    select = "" if isinstance(selector, Immediate) else emitter.resize(emitter.read(selector, 32), 32, 64)
    total = ZERO
    for place in range(4):
        if isinstance(selector, Immediate):
            code = selector.value >> (4 * place) & 15
            shift, repeat = emitter.constant(8 * (code & 7), 64), bool(code & 8)
        else:
            code_of = emitter.op("lshr", wide, select, emitter.constant(4 * place, 64))
            shift = emitter.op("shl", wide, emitter.op("and", wide, code_of, emitter.constant(7, 64)), emitter.constant(3, 64))
        byte = emitter.resize(emitter.op("lshr", wide, both, shift), 64, 32)
        sign = emitter.op("ashr", kind, emitter.op("shl", kind, byte, emitter.constant(24)), emitter.constant(31))
        if not isinstance(selector, Immediate):
            is_sign = emitter.op("icmp ne", wide, emitter.op("and", wide, code_of, emitter.constant(8, 64)), ZERO)
            byte = emitter.select(is_sign, kind, sign, byte)
        elif repeat:
            byte = sign
        byte = emitter.op("and", kind, byte, emitter.constant(255))
        byte = emitter.op("shl", kind, byte, emitter.constant(8 * place))
        total = byte if total == ZERO else emitter.op("or", kind, total, byte)
    emitter.write(target, total, 32, instruction)


# bit fields and counts


def _low_byte(emitter: WarpEmitter, operand: Operand, bits: int) -> str:
    """Return the place or the length of a bit field: eight bits of a 32-bit operand, in the width of the field."""
    byte = emitter.op("and", ints(32), emitter.read(operand, 32), emitter.constant(255))
    return emitter.resize(byte, 32, bits)


def _extract_field(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Cut a field out; above the register's top it has the sign, or zeros (PTX ISA section 9.7.1.19, bfe)."""
    target, source, start, length = instruction.operands
    bits, kind = BITS[instruction.type], ints(BITS[instruction.type])
    opcode = "ashr" if _is_signed(instruction) else "lshr"
    width, last = emitter.constant(bits, bits), emitter.constant(bits - 1, bits)
    first, count = _low_byte(emitter, start, bits), _low_byte(emitter, length, bits)
    end = emitter.integer_intrinsic("umin", bits, (kind, emitter.op("add", kind, first, count)), (kind, width))
    above = emitter.op("sub", kind, width, end)
    top = emitter.op(
        "shl", kind, emitter.read(source, bits), emitter.integer_intrinsic("umin", bits, (kind, above), (kind, last))
    )
    below = emitter.op("add", kind, above, first)
    value = emitter.op(opcode, kind, top, emitter.integer_intrinsic("umin", bits, (kind, below), (kind, last)))
    nothing = emitter.op("icmp eq", kind, count, ZERO)
    if opcode == "lshr":
        nothing = emitter.op("or", MASK, nothing, emitter.op("icmp ugt", kind, below, last))
    emitter.write(target, emitter.select(nothing, kind, ZERO, value), bits, instruction)


def _insert_field(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Put a field into a value; bits above the top are dropped (PTX ISA section 9.7.1.20, bfi)."""
    target, source, base, start, length = instruction.operands
    bits, kind = BITS[instruction.type], ints(BITS[instruction.type])
    last, ones = emitter.constant(bits - 1, bits), emitter.constant(-1, bits)
    first, count = _low_byte(emitter, start, bits), _low_byte(emitter, length, bits)
    place = emitter.integer_intrinsic("umin", bits, (kind, first), (kind, last))
    size = emitter.integer_intrinsic("umin", bits, (kind, count), (kind, last))
    mask = emitter.op("xor", kind, emitter.op("shl", kind, ones, size), ones)
    mask = emitter.select(emitter.op("icmp ugt", kind, count, last), kind, ones, mask)
    mask = emitter.op("shl", kind, mask, place)
    mask = emitter.select(emitter.op("icmp ugt", kind, first, last), kind, ZERO, mask)
    inserted = emitter.op("and", kind, emitter.op("shl", kind, emitter.read(source, bits), place), mask)
    outside = emitter.op("and", kind, emitter.read(base, bits), emitter.op("xor", kind, mask, ones))
    emitter.write(target, emitter.op("or", kind, inserted, outside), bits, instruction)


def _count_bits(name: str) -> Callable[[WarpEmitter, Instruction], None]:
    def translate(emitter: WarpEmitter, instruction: Instruction) -> None:
        target, source = instruction.operands
        bits = BITS[instruction.type]
        arguments = [(ints(bits), emitter.read(source, bits))]
        if name == "ctlz":
            arguments.append(("i1", "false"))
        count = emitter.integer_intrinsic(name, bits, *arguments)
        if name == "bitreverse":
            emitter.write(target, count, bits, instruction)
        else:
            emitter.write(target, emitter.resize(count, bits, 32), 32, instruction)

    return translate


def _find_bit(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Find the highest bit that differs from the sign; -1 where there is none (PTX ISA section 9.7.1.18, bfind)."""
    target, source = instruction.operands
    bits = BITS[instruction.type]
    kind, value = ints(bits), emitter.read(source, bits)
    if _is_signed(instruction):
        value = emitter.op("xor", kind, value, emitter.op("ashr", kind, value, emitter.constant(bits - 1, bits)))
    zeros = emitter.resize(emitter.integer_intrinsic("ctlz", bits, (kind, value), ("i1", "false")), bits, 32)
    place = zeros if instruction.has("shiftamt") else emitter.op("sub", ints(32), emitter.constant(bits - 1), zeros)
    nothing = emitter.op("icmp eq", kind, value, ZERO)
    emitter.write(target, emitter.select(nothing, ints(32), emitter.constant(-1), place), 32, instruction)


TRANSLATORS = {
    "add": _sum("add"),
    "sub": _sum("sub"),
    "mul": _multiply,
    "mad": _multiply_add,
    "div": _divide,
    "rem": _divide,
    "neg": _negate,
    "abs": _absolute,
    "min": _extremum,
    "max": _extremum,
    "sad": _sum_of_differences,
    "and": _binary("and"),
    "or": _binary("or"),
    "xor": _binary("xor"),
    "not": _not,
    "shl": _shift,
    "shr": _shift,
    "shf": _funnel_shift,
    "lop3": _lookup_logic,
    "prmt": _permute_bytes,
    "bfe": _extract_field,
    "bfi": _insert_field,
    "popc": _count_bits("ctpop"),
    "clz": _count_bits("ctlz"),
    "brev": _count_bits("bitreverse"),
    "bfind": _find_bit,
}
