"""Float formats: bf16 and tf32 as patterns of float, flushing of subnormals, saturation, and packed pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import FLOAT, ZERO, floats, ints
from simulator.codegen.warp_emitter import refuse
from simulator.ptx.model import BITS, Register

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction, Operand

__all__ = [
    "PACKED",
    "bf16_to_float",
    "canonical",
    "elementwise",
    "finish",
    "float_to_bf16",
    "flush",
    "halves",
    "join",
    "one",
    "read_flushed",
]

PACKED = {"f16x2": "f16", "bf16x2": "bf16"}
_QUIET, _QUIET_BF16 = 0x7FFF_FFFF, 0x7FFF


def one(bits: int) -> str:
    """Return 1.0 in each lane."""
    return f"splat ({FLOAT[bits]} {'0xH3C00' if bits == BITS['f16'] else '1.0'})"


def bf16_to_float(emitter: WarpEmitter, pattern: str) -> str:
    """Widen 16-bit patterns: bf16 is the upper half of a float."""
    wide = emitter.op("shl", ints(32), emitter.resize(pattern, 16, 32), emitter.constant(16))
    return emitter.as_float(wide, 32)


def float_to_bf16(emitter: WarpEmitter, value: str, *, nearest: bool = True) -> str:
    """Round floats to bf16 patterns, to nearest even or towards zero; NaN becomes the canonical 0x7fff."""
    kind, pattern = ints(32), emitter.as_int(value, 32)
    rounded = pattern
    if nearest:
        odd = emitter.op("and", kind, emitter.op("lshr", kind, pattern, emitter.constant(16)), emitter.constant(1))
        rounded = emitter.op("add", kind, pattern, emitter.op("add", kind, odd, emitter.constant(0x7FFF)))
    unordered = emitter.op("fcmp uno", floats(32), value, value)
    rounded = emitter.select(unordered, kind, emitter.constant(_QUIET_BF16 << 16), rounded)
    return emitter.resize(emitter.op("lshr", kind, rounded, emitter.constant(16)), 32, 16)


def flush(emitter: WarpEmitter, value: str) -> str:
    """Replace subnormal floats by zero of the same sign (.ftz)."""
    kind, pattern = ints(32), emitter.as_int(value, 32)
    exponent = emitter.op("and", kind, pattern, emitter.constant(0x7F800000))
    tiny = emitter.op("icmp eq", kind, exponent, ZERO)
    sign = emitter.op("and", kind, pattern, emitter.constant(0x80000000))
    return emitter.as_float(emitter.select(tiny, kind, sign, pattern), 32)


def read_flushed(emitter: WarpEmitter, instruction: Instruction, operand: Operand, bits: int) -> str:
    """Read a float operand, flushed where the instruction says .ftz."""
    value = emitter.read_float(operand, bits)
    return flush(emitter, value) if bits == BITS["f32"] and instruction.has("ftz") else value


def finish(emitter: WarpEmitter, instruction: Instruction, value: str, bits: int) -> str:
    """Apply .ftz, .sat and .relu to a result."""
    if bits == BITS["f32"] and instruction.has("ftz"):
        value = flush(emitter, value)
    if instruction.has("sat"):
        value = emitter.intrinsic("maxnum", bits, value, ZERO)
        value = emitter.intrinsic("minnum", bits, value, one(bits))
    if instruction.has("relu"):
        value = emitter.intrinsic("maximum", bits, value, ZERO)
    return value


def canonical(emitter: WarpEmitter, target: Operand, value: str) -> str:
    """Return floats as patterns. If an instruction reads the bits, NaN is the NaN of arithmetic (PTX ISA section 9.7.3).

    A processor keeps bits of the operands instead, and rounding by integers that loses a GPU's NaN would go unseen.
    """
    pattern = emitter.as_int(value, 32)
    if not isinstance(target, Register) or target.name not in emitter.bits_read:
        return pattern
    unordered = emitter.op("fcmp uno", floats(32), value, value)
    return emitter.select(unordered, ints(32), emitter.constant(_QUIET), pattern)


def halves(emitter: WarpEmitter, pair: str) -> tuple[str, str]:
    """Split 32-bit patterns into the lower and the upper 16 bits."""
    upper = emitter.op("lshr", ints(32), pair, emitter.constant(16))
    return emitter.resize(pair, 32, 16), emitter.resize(upper, 32, 16)


def join(emitter: WarpEmitter, low: str, high: str) -> str:
    """Pack two 16-bit patterns."""
    upper = emitter.op("shl", ints(32), emitter.resize(high, 16, 32), emitter.constant(16))
    return emitter.op("or", ints(32), upper, emitter.resize(low, 16, 32))


def elementwise(
    emitter: WarpEmitter,
    instruction: Instruction,
    sources: Sequence[Operand],
    compute: Callable[..., str],
    *,
    bf16_bits: int = 32,
) -> None:
    """Compute lane by lane and element by element in the instruction's type, and write the first operand.

    `compute` takes the width and one value of floats per source. bf16 is computed in float and rounded once more, which is
    exact for one sum, product, quotient or root (float has more than twice its significand); `bf16_bits` of 64 computes in
    double and rounds to odd on the way, for a fused product and sum.
    """
    kind, target = instruction.type, instruction.operands[0]
    element = PACKED.get(kind, kind)
    if element not in {"f16", "bf16", "f32", "f64"} or (instruction.has("sat") and element == "bf16"):
        raise refuse(instruction)
    bits = BITS[element]

    def element_of(patterns: Sequence[str]) -> str:
        if element == "bf16":
            values = [bf16_to_float(emitter, pattern) for pattern in patterns]
            if bf16_bits == BITS["f64"]:
                values = [emitter.cast("fpext", floats(32), value, floats(64)) for value in values]
                result = emitter.double_to_odd_float(compute(64, *values))
            else:
                result = compute(32, *values)
            if instruction.has("relu"):
                result = emitter.intrinsic("maximum", 32, result, ZERO)
            return float_to_bf16(emitter, result)
        values = [emitter.as_float(pattern, bits) for pattern in patterns]
        return emitter.as_int(finish(emitter, instruction, compute(bits, *values), bits), bits)

    if kind in PACKED:
        split = [halves(emitter, emitter.read(source, 32)) for source in sources]
        low, high = (element_of([pair[half] for pair in split]) for half in (0, 1))
        emitter.write(target, join(emitter, low, high), 32, instruction)
    elif bits == BITS["f32"]:
        values = [read_flushed(emitter, instruction, source, 32) for source in sources]
        result = finish(emitter, instruction, compute(32, *values), 32)
        emitter.write(target, canonical(emitter, target, result), 32, instruction)
    else:
        emitter.write(target, element_of([emitter.read(source, bits) for source in sources]), bits, instruction)
