"""Moves between registers, conversions between types, and addresses of state spaces (PTX ISA section 9.7.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import MASK, ZERO, floats, ints
from simulator.codegen.floating import FLOAT_TYPES
from simulator.codegen.formats import PACKED, bf16_to_float, finish, float_to_bf16, join, read_flushed
from simulator.codegen.warp_emitter import refuse
from simulator.interface.warp_state import ADDRESS_BIAS, LANES
from simulator.ptx.model import BITS, SINK, Register, Vector

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction, Operand

__all__ = ["TRANSLATORS", "local_base", "shared_base"]

_ROUND_TO_INTEGER = {"rni": "roundeven", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
_KNOWN = {"rn", "rz", "rna", "ftz", "sat", "relu", "satfinite", *_ROUND_TO_INTEGER, *BITS}


def _move(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, source = instruction.operands
    if instruction.type == "pred":
        emitter.write_predicate(target, emitter.read_predicate(source), instruction)
        return
    bits = BITS[instruction.type]
    if isinstance(target, Vector):
        _unpack(emitter, instruction, target.items, emitter.read(source, bits))
    elif isinstance(source, Vector):
        emitter.write(target, _pack(emitter, source.items, bits), bits, instruction)
    else:
        emitter.write(target, emitter.read(source, bits), bits, instruction)


def _unpack(emitter: WarpEmitter, instruction: Instruction, targets: tuple[Operand, ...], value: str) -> None:
    bits = BITS[instruction.type]
    width = bits // len(targets)
    for place, target in enumerate(targets):
        if target == SINK:
            continue
        part = emitter.op("lshr", ints(bits), value, emitter.constant(width * place, bits)) if place else value
        emitter.write(target, emitter.resize(part, bits, width), width, instruction)


def _pack(emitter: WarpEmitter, sources: tuple[Operand, ...], bits: int) -> str:
    width, total = bits // len(sources), ""
    for place, source in enumerate(sources):
        part = emitter.resize(emitter.read(source, width), width, bits)
        if place:
            part = emitter.op("shl", ints(bits), part, emitter.constant(width * place, bits))
            part = emitter.op("or", ints(bits), total, part)
        total = part
    return total


# addresses


def shared_base(emitter: WarpEmitter) -> str:
    """Return the generic address of the block's shared memory, in each lane."""
    base = emitter.op("add", "i64", emitter.launch_constant("shared"), ADDRESS_BIAS)
    return emitter.broadcast("i64", base)


def local_base(emitter: WarpEmitter) -> str:
    """Return the generic address of each lane's local memory."""
    stride = emitter.broadcast("i64", emitter.field("local_stride", "i64"))
    first = emitter.broadcast("i64", emitter.op("add", "i64", emitter.field("local", "i64"), ADDRESS_BIAS))
    return emitter.op("add", ints(64), emitter.op("mul", ints(64), emitter.lane_numbers(64), stride), first)


def _convert_address(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Move between generic and space addresses; only shared and local windows have a base of their own."""
    target, source = instruction.operands
    bits, space = BITS[instruction.type], instruction.space
    value = emitter.read(source, bits)
    if space in {"shared", "local"}:
        base = shared_base(emitter) if space == "shared" else local_base(emitter)
        opcode = "sub" if instruction.has("to") else "add"
        value = emitter.op(opcode, ints(bits), value, emitter.resize(base, 64, bits))
    emitter.write(target, value, bits, instruction)


def _is_in_space(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, source = instruction.operands
    value = emitter.read(source, 64)
    distance = emitter.op("sub", ints(64), value, shared_base(emitter))
    size = emitter.broadcast("i64", emitter.launch_constant("shared_size"))
    shared = emitter.op("icmp ult", ints(64), distance, size)
    distance = emitter.op("sub", ints(64), value, local_base(emitter))
    size = emitter.broadcast("i64", emitter.field("local_stride", "i64"))
    local = emitter.op("icmp ult", ints(64), distance, size)
    if instruction.space == "shared":
        predicate = shared
    elif instruction.space == "local":
        predicate = local
    elif instruction.space == "global":
        predicate = emitter.op("xor", MASK, emitter.op("or", MASK, shared, local), emitter.constant(1, 1))
    else:
        raise refuse(instruction)
    emitter.write_predicate(target, predicate, instruction)


# conversions


def _convert(emitter: WarpEmitter, instruction: Instruction) -> None:
    types = instruction.types
    if set(instruction.opcode[1:]) - _KNOWN or len(types) != len(("to", "from")) or instruction.has("satfinite"):
        raise refuse(instruction)
    to_type, from_type = types
    if to_type in PACKED:
        _convert_pair(emitter, instruction, PACKED[to_type])
    elif to_type not in FLOAT_TYPES and from_type not in FLOAT_TYPES:
        _int_to_int(emitter, instruction, to_type, from_type)
    elif to_type not in FLOAT_TYPES:
        _float_to_int(emitter, instruction, to_type, from_type)
    elif from_type not in FLOAT_TYPES:
        _int_to_float(emitter, instruction, to_type, from_type)
    else:
        _float_to_float(emitter, instruction, to_type, from_type)


def _convert_pair(emitter: WarpEmitter, instruction: Instruction, element: str) -> None:
    """Pack two floats; the first source becomes the upper half."""
    target, upper, lower = instruction.operands
    if instruction.types[1] != "f32" or (instruction.has("rz") and element == "f16"):
        raise refuse(instruction)
    patterns = []
    for source in (lower, upper):
        value = read_flushed(emitter, instruction, source, 32)
        if instruction.has("relu"):
            value = emitter.intrinsic("maximum", 32, value, ZERO)
        if element == "bf16":
            patterns.append(float_to_bf16(emitter, value, nearest=not instruction.has("rz")))
        else:
            patterns.append(emitter.as_int(emitter.cast("fptrunc", floats(32), value, floats(16)), 16))
    emitter.write(target, join(emitter, *patterns), 32, instruction)


def _write_integer(emitter: WarpEmitter, instruction: Instruction, value: str, to_type: str) -> None:
    """Write a result; a wider register gets it extended by its own sign."""
    target, bits = instruction.operands[0], BITS[to_type]
    if isinstance(target, Register) and target.bits > bits:
        value = emitter.resize(value, bits, target.bits, sign=to_type.startswith("s"))
        bits = target.bits
    emitter.write(target, value, bits, instruction)


def _int_to_int(emitter: WarpEmitter, instruction: Instruction, to_type: str, from_type: str) -> None:
    source = emitter.read(instruction.operands[1], BITS[from_type])
    if instruction.has("sat"):
        source = _saturate(emitter, source, to_type, from_type)
    value = emitter.resize(source, BITS[from_type], BITS[to_type], sign=from_type.startswith("s"))
    _write_integer(emitter, instruction, value, to_type)


def _limits(kind: str) -> tuple[int, int]:
    bits = BITS[kind]
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind.startswith("s") else (0, (1 << bits) - 1)


def _saturate(emitter: WarpEmitter, value: str, to_type: str, from_type: str) -> str:
    """Clamp an integer of one type to the range of another."""
    bits, prefix = BITS[from_type], from_type[0]
    low, high = _limits(to_type)
    lowest, highest = _limits(from_type)
    kind = ints(bits)
    if low > lowest:
        value = emitter.integer_intrinsic(f"{prefix}max", bits, (kind, value), (kind, emitter.constant(low, bits)))
    if high < highest:
        value = emitter.integer_intrinsic(f"{prefix}min", bits, (kind, value), (kind, emitter.constant(high, bits)))
    return value


def _read_number(emitter: WarpEmitter, instruction: Instruction, from_type: str) -> tuple[str, int]:
    """Return the source as floats LLVM computes with: half and bf16 are widened, exactly."""
    source = instruction.operands[1]
    if from_type == "bf16":
        return bf16_to_float(emitter, emitter.read(source, 16)), 32
    if from_type == "f16":
        return emitter.cast("fpext", floats(16), emitter.read_float(source, 16), floats(32)), 32
    return read_flushed(emitter, instruction, source, BITS[from_type]), BITS[from_type]


def _rounded(emitter: WarpEmitter, instruction: Instruction, value: str, bits: int) -> str:
    for mode, function in _ROUND_TO_INTEGER.items():
        if instruction.has(mode):
            value = emitter.intrinsic(function, bits, value)
    return value


def _float_to_int(emitter: WarpEmitter, instruction: Instruction, to_type: str, from_type: str) -> None:
    """Round and clamp; NaN becomes 0 (PTX ISA section 9.7.9.21)."""
    value, width = _read_number(emitter, instruction, from_type)
    value = _rounded(emitter, instruction, value, width)
    bits, sign = BITS[to_type], "s" if to_type.startswith("s") else "u"
    name = f"llvm.fpto{sign}i.sat.v{LANES}i{bits}.v{LANES}f{width}"
    _write_integer(emitter, instruction, emitter.call(name, ints(bits), (floats(width), value)), to_type)


def _int_to_float(emitter: WarpEmitter, instruction: Instruction, to_type: str, from_type: str) -> None:
    """Round once: through double for the 16-bit formats, which holds every 32-bit integer."""
    if any(instruction.has(mode) for mode in ("rz", "rm", "rp")):
        raise refuse(instruction, "directed rounding")
    bits = BITS[from_type]
    source = emitter.read(instruction.operands[1], bits)
    opcode = "sitofp" if from_type.startswith("s") else "uitofp"
    target = instruction.operands[0]
    if to_type in {"f32", "f64"}:
        value = emitter.cast(opcode, ints(bits), source, floats(BITS[to_type]))
        emitter.write(target, emitter.as_int(value, BITS[to_type]), BITS[to_type], instruction)
        return
    if bits > BITS["b32"] or to_type == "tf32":
        raise refuse(instruction)
    value = emitter.cast(opcode, ints(bits), source, floats(64))
    _write_narrow(emitter, instruction, value, 64, to_type)


def _write_narrow(emitter: WarpEmitter, instruction: Instruction, value: str, bits: int, to_type: str) -> None:
    """Round floats or doubles to half or bf16, once, and write the pattern."""
    target = instruction.operands[0]
    if to_type == "f16":
        if bits == BITS["f64"]:
            value = emitter.narrow_double(value, 16)
        else:
            value = emitter.cast("fptrunc", floats(bits), value, floats(16))
        value = finish(emitter, instruction, value, 16)
        emitter.write(target, emitter.as_int(value, 16), 16, instruction)
        return
    if bits == BITS["f64"]:
        value = emitter.double_to_odd_float(value)
    if instruction.has("relu"):
        value = emitter.intrinsic("maximum", 32, value, ZERO)
    emitter.write(target, float_to_bf16(emitter, value, nearest=not instruction.has("rz")), 16, instruction)


def _float_to_float(emitter: WarpEmitter, instruction: Instruction, to_type: str, from_type: str) -> None:
    value, width = _read_number(emitter, instruction, from_type)
    value = _rounded(emitter, instruction, value, width)
    if instruction.has("rz") and not (to_type == "bf16" and from_type == "f32"):
        raise refuse(instruction, "directed rounding")
    if to_type == "tf32":
        _to_tf32(emitter, instruction, value)
    elif to_type in {"f16", "bf16"}:
        _write_narrow(emitter, instruction, value, width, to_type)
    else:
        bits = BITS[to_type]
        if bits != width:
            value = emitter.cast("fpext" if bits > width else "fptrunc", floats(width), value, floats(bits))
        value = finish(emitter, instruction, value, bits)
        emitter.write(instruction.operands[0], emitter.as_int(value, bits), bits, instruction)


def _to_tf32(emitter: WarpEmitter, instruction: Instruction, value: str) -> None:
    """Keep 10 significand bits: .rna rounds halves away from zero, .rn to even; infinities and NaN stay."""
    kind, pattern = ints(32), emitter.as_int(value, 32)
    if instruction.has("rna"):
        increment = emitter.constant(0x1000)
    elif instruction.has("rn"):
        odd = emitter.op("and", kind, emitter.op("lshr", kind, pattern, emitter.constant(13)), emitter.constant(1))
        increment = emitter.op("add", kind, odd, emitter.constant(0xFFF))
    else:
        raise refuse(instruction)
    rounded = emitter.op("and", kind, emitter.op("add", kind, pattern, increment), emitter.constant(-0x2000))
    exponent = emitter.op("and", kind, pattern, emitter.constant(0x7F800000))
    special = emitter.op("icmp eq", kind, exponent, emitter.constant(0x7F800000))
    emitter.write(instruction.operands[0], emitter.select(special, kind, pattern, rounded), 32, instruction)


TRANSLATORS = {"mov": _move, "cvta": _convert_address, "isspacep": _is_in_space, "cvt": _convert}
