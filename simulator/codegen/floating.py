"""Floating-point arithmetic (PTX ISA sections 9.7.3 to 9.7.5): every rounding is to nearest even, others are refused.

The approximate functions (ex2, lg2, rsqrt, sin, tanh and so on) are computed in double and rounded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import MASK, ZERO, floats, ints
from simulator.codegen.formats import PACKED, elementwise, one
from simulator.codegen.warp_emitter import refuse
from simulator.interface.warp_state import LANES
from simulator.ptx.model import BITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction

__all__ = ["FLOAT_TYPES", "TRANSLATORS", "each_lane"]

FLOAT_TYPES = {"f16", "bf16", "f32", "f64", "tf32", *PACKED}
_DIRECTED = ("rz", "rm", "rp")
_SIGN_BITS = {"bf16": 0x8000, "f16": 0x8000, "bf16x2": 0x80008000, "f16x2": 0x80008000, "f32": 1 << 31, "f64": 1 << 63}


def _refuse_directed(instruction: Instruction) -> None:
    if any(instruction.has(mode) for mode in _DIRECTED):
        raise refuse(instruction, "directed rounding")


def _binary(opcode: str) -> Callable[[WarpEmitter, Instruction], None]:
    def translate(emitter: WarpEmitter, instruction: Instruction) -> None:
        _refuse_directed(instruction)

        def compute(bits: int, left: str, right: str) -> str:
            return emitter.op(opcode, floats(bits), left, right)

        elementwise(emitter, instruction, instruction.operands[1:3], compute)

    return translate


def _fused(emitter: WarpEmitter, instruction: Instruction) -> None:
    _refuse_directed(instruction)
    if instruction.has("oob"):
        raise refuse(instruction)

    halves_of_float = instruction.type in {"bf16", "bf16x2"}

    def compute(bits: int, left: str, right: str, addend: str) -> str:
        if halves_of_float:
            return _odd_sum(emitter, emitter.op("fmul", floats(64), left, right), addend)
        return emitter.intrinsic("fma", bits, left, right, addend)

    elementwise(emitter, instruction, instruction.operands[1:4], compute, bf16_bits=64)


def _odd_sum(emitter: WarpEmitter, left: str, right: str) -> str:
    """Add doubles and round to odd: where the sum is not exact, of its two neighbours the one whose last bit is set.

    bf16 has the exponents of float, so that a product (exact in double) and an addend may be more than 53 bits apart; a sum
    rounded to nearest would forget the smaller one, which decides a tie. The error of the sum is Knuth's (TwoSum).
    """
    kind, pattern_kind = floats(64), ints(64)
    total = emitter.op("fadd", kind, left, right)
    right_part = emitter.op("fsub", kind, total, left)
    left_error = emitter.op("fsub", kind, left, emitter.op("fsub", kind, total, right_part))
    error = emitter.op("fadd", kind, left_error, emitter.op("fsub", kind, right, right_part))
    grows = emitter.op("fcmp ogt", kind, emitter.op("fmul", kind, error, total), ZERO)
    step = emitter.select(grows, pattern_kind, emitter.constant(1, 64), emitter.constant(-1, 64))
    pattern = emitter.as_int(total, 64)
    even = emitter.op("icmp eq", pattern_kind, emitter.op("and", pattern_kind, pattern, emitter.constant(1, 64)), ZERO)
    moves = emitter.op("and", MASK, even, emitter.op("fcmp one", kind, error, ZERO))
    stepped = emitter.op("add", pattern_kind, pattern, step)
    return emitter.as_float(emitter.select(moves, pattern_kind, stepped, pattern), 64)


def _extremum(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Take the minimum or maximum: NaN loses unless .NaN is given, and -0 is below +0 (PTX ISA section 9.7.3.11)."""
    if instruction.has("xorsign") or len(instruction.operands) != len("dab"):
        raise refuse(instruction)
    smaller = instruction.name == "min"

    def compute(bits: int, left: str, right: str) -> str:
        strict = emitter.intrinsic("minimum" if smaller else "maximum", bits, left, right)
        if instruction.has("NaN"):
            return strict
        kind = floats(bits)
        left_nan = emitter.op("fcmp uno", kind, left, left)
        right_nan = emitter.op("fcmp uno", kind, right, right)
        return emitter.select(left_nan, kind, right, emitter.select(right_nan, kind, left, strict))

    elementwise(emitter, instruction, instruction.operands[1:3], compute)


def _negate(emitter: WarpEmitter, instruction: Instruction) -> None:
    if instruction.has("ftz") and instruction.type == "f32":
        elementwise(
            emitter, instruction, instruction.operands[1:], lambda bits, value: emitter.value(f"fneg {floats(bits)} {value}")
        )
        return
    bits = BITS[instruction.type]
    value = emitter.read(instruction.operands[1], bits)
    flipped = emitter.op("xor", ints(bits), value, emitter.constant(_SIGN_BITS[instruction.type], bits))
    emitter.write(instruction.operands[0], flipped, bits, instruction)


def _absolute(emitter: WarpEmitter, instruction: Instruction) -> None:
    if instruction.has("ftz") and instruction.type == "f32":
        elementwise(emitter, instruction, instruction.operands[1:], lambda bits, value: emitter.intrinsic("fabs", bits, value))
        return
    bits = BITS[instruction.type]
    value = emitter.read(instruction.operands[1], bits)
    cleared = emitter.op("and", ints(bits), value, emitter.constant(~_SIGN_BITS[instruction.type], bits))
    emitter.write(instruction.operands[0], cleared, bits, instruction)


def _copy_sign(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, sign, magnitude = instruction.operands
    bits = BITS[instruction.type]
    value = emitter.intrinsic("copysign", bits, emitter.read_float(magnitude, bits), emitter.read_float(sign, bits))
    emitter.write(target, emitter.as_int(value, bits), bits, instruction)


def each_lane(emitter: WarpEmitter, name: str, bits: int, *values: str) -> str:
    """Call a function of libm in the active lanes; floats are computed in double and rounded."""
    if bits == BITS["f16"]:
        wide = [emitter.cast("fpext", floats(16), value, floats(32)) for value in values]
        return emitter.cast("fptrunc", floats(32), each_lane(emitter, name, 32, *wide), floats(16))
    helper = f"lanes_{name}_{bits}"
    if helper not in emitter.helpers:
        emitter.helpers[helper] = _lane_loop(helper, name, bits, len(values))
    places = []
    for slot, value in enumerate(values):
        places.append(emitter.scratch(slot))
        emitter.emit(f"store {floats(bits)} {value}, ptr {places[-1]}, align 64")
    emitter.call(helper, "void", *(("ptr", place) for place in places), ("i32", emitter.active_bits))
    return emitter.value(f"load {floats(bits)}, ptr {places[0]}, align 64")


def _lane_loop(helper: str, name: str, bits: int, count: int) -> str:
    """Return an LLVM function that applies a libm function of doubles to the lanes of a mask, in place."""
    kind = "float" if bits == BITS["f32"] else "double"
    parameters = ", ".join(f"ptr %in{k}" for k in range(count))
    lines = [
        f"declare double @libm_{name}({', '.join(['double'] * count)})",
        f"define void @{helper}({parameters}, i32 %lanes) {{",
        "entry:",
        "  br label %loop",
        "loop:",
        "  %lane = phi i32 [ 0, %entry ], [ %after, %next ]",
        "  %left = phi i32 [ %lanes, %entry ], [ %rest, %next ]",
        "  %bit = and i32 %left, 1",
        "  %on = icmp ne i32 %bit, 0",
        "  br i1 %on, label %apply, label %next",
        "apply:",
    ]
    for k in range(count):
        lines += [f"  %at{k} = getelementptr {kind}, ptr %in{k}, i32 %lane", f"  %x{k} = load {kind}, ptr %at{k}"]
        if kind == "float":
            lines.append(f"  %d{k} = fpext float %x{k} to double")
    prefix = "d" if kind == "float" else "x"
    lines.append(f"  %y = call double @libm_{name}({', '.join(f'double %{prefix}{k}' for k in range(count))})")
    if kind == "float":
        lines += ["  %z = fptrunc double %y to float", "  store float %z, ptr %at0"]
    else:
        lines.append("  store double %y, ptr %at0")
    lines += [
        "  br label %next",
        "next:",
        "  %rest = lshr i32 %left, 1",
        "  %after = add i32 %lane, 1",
        f"  %done = icmp eq i32 %after, {LANES}",
        "  br i1 %done, label %end, label %loop",
        "end:",
        "  ret void",
        "}",
    ]
    return "\n".join(lines)


def _unary(compute_of: Callable[[WarpEmitter, int, str], str]) -> Callable[[WarpEmitter, Instruction], None]:
    def translate(emitter: WarpEmitter, instruction: Instruction) -> None:
        _refuse_directed(instruction)
        elementwise(emitter, instruction, instruction.operands[1:2], lambda bits, value: compute_of(emitter, bits, value))

    return translate


def _libm(name: str) -> Callable[[WarpEmitter, Instruction], None]:
    return _unary(lambda emitter, bits, value: each_lane(emitter, name, bits, value))


def _reciprocal(emitter: WarpEmitter, bits: int, value: str) -> str:
    return emitter.op("fdiv", floats(bits), one(bits), value)


def _root(emitter: WarpEmitter, bits: int, value: str) -> str:
    return emitter.intrinsic("sqrt", bits, value)


def _reciprocal_root(emitter: WarpEmitter, bits: int, value: str) -> str:
    """Return 1 / sqrt, in double, so that floats are rounded once."""
    wide = emitter.cast("fpext", floats(bits), value, floats(64))
    result = emitter.op("fdiv", floats(64), one(64), emitter.intrinsic("sqrt", 64, wide))
    return result if bits == BITS["f64"] else emitter.narrow_double(result, bits)


TRANSLATORS = {
    "add": _binary("fadd"),
    "sub": _binary("fsub"),
    "mul": _binary("fmul"),
    "div": _binary("fdiv"),
    "fma": _fused,
    "mad": _fused,
    "min": _extremum,
    "max": _extremum,
    "neg": _negate,
    "abs": _absolute,
    "copysign": _copy_sign,
    "rcp": _unary(_reciprocal),
    "sqrt": _unary(_root),
    "rsqrt": _unary(_reciprocal_root),
    "ex2": _libm("exp2"),
    "lg2": _libm("log2"),
    "sin": _libm("sin"),
    "cos": _libm("cos"),
    "tanh": _libm("tanh"),
}
