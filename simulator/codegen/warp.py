"""Instructions by which the lanes of a warp exchange values (PTX ISA sections 9.7.9.6 and 9.7.13).

The lanes an instruction names have met before it runs: control flow holds the block back until they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import MASK, ZERO, ints
from simulator.codegen.warp_emitter import refuse
from simulator.interface.warp_state import LANES, REDUCTIONS
from simulator.ptx.model import BITS, Immediate, Pair

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Instruction

__all__ = ["TRANSLATORS"]

_PERMUTE_INDEX, _PERMUTE_RESULT = 20, 21


def _synchronise_warp(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Order the memory accesses of the lanes named (bar.warp.sync); the waiting is done."""
    if not emitter.checked:
        return
    state, checker = emitter.state_number(), emitter.launch_constant("checker")
    named = emitter.scratch(0)
    emitter.emit(f"store {ints(32)} {emitter.read(instruction.operands[0], 32)}, ptr {named}, align 64")
    emitter.call("check_warp_barrier", "void", ("i64", state), ("i64", checker), ("i32", emitter.active_bits), ("ptr", named))


def _active_mask(emitter: WarpEmitter, instruction: Instruction) -> None:
    emitter.write(instruction.operands[0], emitter.broadcast("i32", emitter.active_bits), 32, instruction)


# shuffles


def _source_lane(mode: str, lane: int, amount: int, clamp: int) -> tuple[int, bool]:
    """Return the lane read, and whether it is in range (PTX ISA section 9.7.9.6, shfl.sync)."""
    segment, limit = clamp >> 8 & 31, clamp & 31
    low = lane & segment
    high = low | (limit & ~segment & 31)
    source = {
        "up": lane - amount,
        "down": lane + amount,
        "bfly": lane ^ amount,
        "idx": low | (amount & ~segment & 31),
    }[mode]
    inside = source >= high if mode == "up" else source <= high
    return (source if inside else lane), inside


def _shuffle(emitter: WarpEmitter, instruction: Instruction) -> None:
    mode = next(part for part in instruction.opcode if part in {"up", "down", "bfly", "idx"})
    target, source, amount, clamp = instruction.operands[:4]
    value = emitter.read(source, 32)
    if isinstance(amount, Immediate) and isinstance(clamp, Immediate):
        known = [_source_lane(mode, lane, amount.value & 31, clamp.value) for lane in range(LANES)]
        order = emitter.lanes_of("i32", [lane for lane, _ in known])
        moved = emitter.value(f"shufflevector {ints(32)} {value}, {ints(32)} poison, {ints(32)} {order}")
        inside = emitter.lanes_of("i1", ["true" if fits else "false" for _, fits in known])
    else:
        sources, inside = _source_lanes(emitter, instruction, mode)
        moved = _permute(emitter, value, sources)
    emitter.write_pair(target, moved, inside, instruction)


def _source_lanes(emitter: WarpEmitter, instruction: Instruction, mode: str) -> tuple[str, str]:
    """Compute the result of `_source_lane` in the kernel, for operands that are no constants."""
    kind, all_lanes = ints(32), emitter.constant(31)
    lane = emitter.lane_numbers()
    amount = emitter.op("and", kind, emitter.read(instruction.operands[2], 32), all_lanes)
    clamp = emitter.read(instruction.operands[3], 32)
    segment = emitter.op("and", kind, emitter.op("lshr", kind, clamp, emitter.constant(8)), all_lanes)
    beyond = emitter.op("xor", kind, segment, all_lanes)
    low = emitter.op("and", kind, lane, segment)
    limit = emitter.op("and", kind, emitter.op("and", kind, clamp, all_lanes), beyond)
    high = emitter.op("or", kind, low, limit)
    if mode == "idx":
        source = emitter.op("or", kind, low, emitter.op("and", kind, amount, beyond))
    else:
        source = emitter.op({"up": "sub", "down": "add", "bfly": "xor"}[mode], kind, lane, amount)
    inside = emitter.op("icmp sge" if mode == "up" else "icmp sle", kind, source, high)
    return emitter.select(inside, kind, source, lane), inside


def _permute(emitter: WarpEmitter, value: str, sources: str) -> str:
    """Read each lane's value from the lane that `sources` gives."""
    kind, place = ints(32), emitter.scratch(0)
    emitter.emit(f"store {kind} {value}, ptr {place}, align 64")
    if emitter.native:
        pointers = emitter.value(f"getelementptr i32, ptr {place}, {kind} {sources}")
        return emitter.call(
            f"llvm.masked.gather.v{LANES}i32.v{LANES}p0",
            kind,
            (f"<{LANES} x ptr>", pointers),
            ("i32", 4),
            (MASK, emitter.constant(1, 1)),
            (kind, ZERO),
        )
    index, result = emitter.scratch(_PERMUTE_INDEX), emitter.scratch(_PERMUTE_RESULT)
    emitter.emit(f"store {kind} {sources}, ptr {index}, align 64")
    emitter.call("permute_32", "void", ("ptr", place), ("ptr", index), ("ptr", result))
    return emitter.value(f"load {kind}, ptr {result}, align 64")


# votes


def _members(emitter: WarpEmitter, instruction: Instruction) -> str:
    """Return, in each lane, the lanes its member mask names that are here."""
    named = emitter.read(instruction.operands[-1], 32)
    return emitter.op("and", ints(32), named, emitter.broadcast("i32", emitter.active_bits))


def _vote(emitter: WarpEmitter, instruction: Instruction) -> None:
    target, condition = instruction.operands[:2]
    kind, present = ints(32), _members(emitter, instruction)
    votes = emitter.broadcast("i32", emitter.to_bits(emitter.read_predicate(condition)))
    yes = emitter.op("and", kind, present, votes)
    if instruction.has("ballot"):
        emitter.write(target, yes, 32, instruction)
        return
    none = emitter.op("icmp eq", kind, yes, ZERO)
    everybody = emitter.op("icmp eq", kind, yes, present)
    if instruction.has("any"):
        predicate = emitter.op("xor", MASK, none, emitter.constant(1, 1))
    elif instruction.has("all"):
        predicate = everybody
    elif instruction.has("uni"):
        predicate = emitter.op("or", MASK, none, everybody)
    else:
        raise refuse(instruction)
    emitter.write_predicate(target, predicate, instruction)


def _match(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Find the lanes with the same value (PTX ISA section 9.7.13.12, match.sync)."""
    target, source = instruction.operands[:2]
    bits = BITS[instruction.type]
    places = [emitter.scratch(slot) for slot in range(3)]
    wide = emitter.resize(emitter.read(source, bits), bits, 64)
    emitter.emit(f"store {ints(64)} {wide}, ptr {places[0]}, align 64")
    emitter.emit(f"store {ints(32)} {_members(emitter, instruction)}, ptr {places[1]}, align 64")
    emitter.call("match_lanes", "void", *(("ptr", place) for place in places))
    equal = emitter.value(f"load {ints(32)}, ptr {places[2]}, align 64")
    if instruction.has("any"):
        emitter.write(target, equal, 32, instruction)
        return
    present = emitter.value(f"load {ints(32)}, ptr {places[1]}, align 64")
    same = emitter.op("icmp eq", ints(32), equal, present)
    emitter.write_pair(target, emitter.select(same, ints(32), present, ZERO), same, instruction)


def _reduce(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Reduce over the lanes that each member mask names (PTX ISA section 9.7.13.13, redux.sync)."""
    target, source = instruction.operands[:2]
    if instruction.type not in {"u32", "s32", "b32"}:
        raise refuse(instruction)
    operation = next(part for part in instruction.opcode if part in REDUCTIONS)
    places = [emitter.scratch(slot) for slot in range(3)]
    emitter.emit(f"store {ints(32)} {emitter.read(source, 32)}, ptr {places[0]}, align 64")
    emitter.emit(f"store {ints(32)} {_members(emitter, instruction)}, ptr {places[1]}, align 64")
    emitter.call(
        "reduce_lanes",
        "void",
        ("i32", REDUCTIONS.index(operation)),
        ("i32", int(instruction.type == "s32")),
        *(("ptr", place) for place in places),
    )
    total = emitter.value(f"load {ints(32)}, ptr {places[2]}, align 64")
    emitter.write(target, total, 32, instruction)


def _elect(emitter: WarpEmitter, instruction: Instruction) -> None:
    target = instruction.operands[0]
    leader = emitter.broadcast("i32", emitter.first_lane(emitter.active_bits))
    mine = emitter.op("icmp eq", ints(32), emitter.lane_numbers(), leader)
    if not isinstance(target, Pair):
        raise refuse(instruction)
    emitter.write_pair(target, leader, mine, instruction)


TRANSLATORS = {
    "bar": _synchronise_warp,
    "barrier": _synchronise_warp,
    "activemask": _active_mask,
    "shfl": _shuffle,
    "vote": _vote,
    "match": _match,
    "redux": _reduce,
    "elect": _elect,
}
