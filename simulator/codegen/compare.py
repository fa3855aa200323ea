"""Comparisons and selections (PTX ISA sections 9.7.6 and 9.7.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import MASK, ZERO, floats, ints
from simulator.codegen.formats import bf16_to_float, read_flushed
from simulator.codegen.warp_emitter import refuse
from simulator.ptx.model import BITS, Pair

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction, Operand

__all__ = ["TRANSLATORS"]

_INTEGER = {
    "eq": "eq",
    "ne": "ne",
    "lt": "lt",
    "le": "le",
    "gt": "gt",
    "ge": "ge",
    "lo": "lt",
    "ls": "le",
    "hi": "gt",
    "hs": "ge",
}
_FLOAT = {
    "eq": "oeq", "ne": "one", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "num": "ord", "nan": "uno",
    "equ": "ueq", "neu": "une", "ltu": "ult", "leu": "ule", "gtu": "ugt", "geu": "uge",
}  # fmt: skip
_COMBINE = ("and", "or", "xor")
_TRUE = {"f32": 0x3F800000, "f16": 0x3C00, "bf16": 0x3F80}


def _compare(emitter: WarpEmitter, instruction: Instruction, left: Operand, right: Operand) -> str:
    """Return the booleans of the comparison that the opcode's second part names."""
    kind, relation = instruction.type, instruction.opcode[1]
    if kind in {"f16", "bf16", "f32", "f64"}:
        bits = BITS[kind]
        if kind == "bf16":
            a, b = (bf16_to_float(emitter, emitter.read(operand, 16)) for operand in (left, right))
            bits = 32
        else:
            a, b = (read_flushed(emitter, instruction, operand, bits) for operand in (left, right))
        return emitter.op(f"fcmp {_FLOAT[relation]}", floats(bits), a, b)
    if kind in {"f16x2", "bf16x2"} or relation not in _INTEGER:
        raise refuse(instruction)
    bits, relation = BITS[kind], _INTEGER[relation]
    unsigned = not kind.startswith("s")
    predicate = relation if relation in {"eq", "ne"} else ("u" if unsigned else "s") + relation
    return emitter.op(f"icmp {predicate}", ints(bits), emitter.read(left, bits), emitter.read(right, bits))


def _set_predicate(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, left, right, *more = instruction.operands
    predicate = _compare(emitter, instruction, left, right)
    inverse = emitter.op("xor", MASK, predicate, emitter.constant(1, 1)) if isinstance(target, Pair) else ""
    if more:
        combine = next(part for part in instruction.opcode if part in _COMBINE)
        other = emitter.read_predicate(more[0])
        predicate = emitter.op(combine, MASK, predicate, other)
        if inverse:
            inverse = emitter.op(combine, MASK, inverse, other)
    if isinstance(target, Pair):
        emitter.write_predicate(target.first, predicate, instruction)
        emitter.write_predicate(target.second, inverse, instruction)
    else:
        emitter.write_predicate(target, predicate, instruction)


def _set(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, left, right, *more = instruction.operands
    predicate = _compare(emitter, instruction, left, right)
    if more:
        combine = next(part for part in instruction.opcode if part in _COMBINE)
        predicate = emitter.op(combine, MASK, predicate, emitter.read_predicate(more[0]))
    target_type = instruction.types[0]
    bits = BITS[target_type]
    value = emitter.select(predicate, ints(bits), emitter.constant(_TRUE.get(target_type, -1), bits), ZERO)
    emitter.write(target, value, bits, instruction)


def _select(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, left, right, condition = instruction.operands
    bits = BITS[instruction.type]
    chosen = emitter.read_predicate(condition)
    value = emitter.select(chosen, ints(bits), emitter.read(left, bits), emitter.read(right, bits))
    emitter.write(target, value, bits, instruction)


def _test_property(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, source = instruction.operands
    bits = BITS[instruction.type]
    kind, value = floats(bits), emitter.read_float(source, bits)
    infinity = emitter.splat("float" if bits == BITS["f32"] else "double", "0x7FF0000000000000")
    if instruction.has("notanumber"):
        predicate = emitter.op("fcmp uno", kind, value, value)
    elif instruction.has("number"):
        predicate = emitter.op("fcmp ord", kind, value, value)
    elif instruction.has("infinite"):
        predicate = emitter.op("fcmp oeq", kind, emitter.intrinsic("fabs", bits, value), infinity)
    elif instruction.has("finite"):
        predicate = emitter.op("fcmp olt", kind, emitter.intrinsic("fabs", bits, value), infinity)
    else:
        raise refuse(instruction)
    emitter.write_predicate(target, predicate, instruction)


TRANSLATORS = {"setp": _set_predicate, "set": _set, "selp": _select, "testp": _test_property}
