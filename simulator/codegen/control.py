"""Control flow of a warp: one LLVM function per basic block, the lanes that branch, fuel, and waiting for lanes.

A block's function takes the lanes to run and returns the lanes that take the branch at its end. The dispatcher
(``simulator/native/dispatcher.hpp``) queues and counts them, in the same way for all blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.emitter import MASK, ZERO, ints, signed
from simulator.codegen.warp_emitter import refuse
from simulator.interface.warp_state import ALL_LANES, BARRIERS, DONE, LANES, SCRATCH, WAITS, Barrier, Fault, Status
from simulator.ptx.model import Immediate, Register

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Block, Instruction, Operand

__all__ = ["emit_block", "flush_refused", "is_block_barrier"]

_MEMBER_MASK_LAST = {"shfl", "vote", "match", "redux", "elect"}
_BARRIER_KINDS = {kind.name.lower(): kind for kind in Barrier}


def is_block_barrier(instruction: Instruction) -> bool:
    """Return whether an instruction waits for other warps of the block."""
    return instruction.name in {"bar", "barrier"} and not instruction.has("warp")


def emit_block(emitter: WarpEmitter, block: Block, translate: Callable[[Instruction], None]) -> str:
    """Return the text of a basic block's function, ``@block_7`` for the block with index 7."""
    emitter.start(block)
    if block.instructions:
        _body(emitter, block, translate)
    else:
        _exit(emitter)
    if emitter.may_stop:
        emitter.stop()
    prologue = [line for lines in emitter.prologue.values() for line in lines]
    head = [f"define internal i64 @block_{block.index}(ptr %state, i32 %active) {{", "entry:"]
    return "\n".join([*head, *prologue, *emitter.lines, "}"])


def _body(emitter: WarpEmitter, block: Block, translate: Callable[[Instruction], None]) -> None:
    if block.synchronises:
        _wait_for_lanes(emitter, block)
    end = block.terminator
    for instruction in block.instructions:
        if instruction is end:
            break
        if is_block_barrier(instruction):
            _barrier(emitter, instruction)
            return
        if emitter.checked:
            _check_membership(emitter, instruction)
        translate(instruction)
    flush_refused(emitter)
    emitter.write_back()
    _leave(emitter, block, end)


def _exit(emitter: WarpEmitter) -> None:
    """Retire lanes; blocks that waited for them may continue."""
    live = emitter.field("live", "i32")
    emitter.set_field("live", "i32", emitter.op("and", "i32", live, emitter.op("xor", "i32", "%active", -1)))
    for word in range(emitter.layout.words):
        emitter.emit(f"store i64 0, ptr {emitter.address(emitter.layout.blocked_set + 8 * word)}")
    emitter.emit(f"ret i64 {DONE}")


# leaving a block


def _leave(emitter: WarpEmitter, block: Block, end: Instruction | None) -> None:
    blocks = emitter.kernel.blocks
    if end is not None and end.name == "trap":
        _trap(emitter, block, end)
    elif end is not None and end.name == "brx":
        _branch_by_table(emitter, block, end)
    elif end is None or end.predicate is None:
        _go(emitter, block, [(blocks[block.successors[0]], emitter.active_bits)])
    else:
        condition = emitter.to_bits(emitter.read_predicate(end.predicate, negated=end.predicate_negated))
        taken = emitter.op("and", "i32", emitter.active_bits, condition)
        others = emitter.op("xor", "i32", emitter.active_bits, taken)
        _go(emitter, block, [(blocks[block.successors[0]], taken), (blocks[block.successors[-1]], others)])


def _go(emitter: WarpEmitter, block: Block, paths: Sequence[tuple[Block, str]]) -> None:
    """Leave for one block or two, the first of which is the branch's target."""
    if any(target.priority <= block.priority for target, _ in paths):
        _burn_fuel(emitter, paths)
    taken = paths[0][1]
    emitter.emit(f"ret i64 {emitter.value(f'zext i32 {taken} to i64')}")


def _trap(emitter: WarpEmitter, block: Block, end: Instruction) -> None:
    """End the launch where a lane comes here; no lane takes the trap's edge to the kernel's end."""
    lanes = emitter.to_bits(emitter.lanes(end))
    hit, on = emitter.fresh("trap"), emitter.fresh("on")
    emitter.branch(emitter.value(f"icmp ne i32 {lanes}, 0"), hit, on)
    emitter.label(hit)
    emitter.fault(Fault.TRAP, end.index, lanes)
    emitter.label(on)
    blocks = emitter.kernel.blocks
    _go(emitter, block, [(blocks[block.successors[0]], "0"), (blocks[block.successors[-1]], emitter.active_bits)])


def _branch_by_table(emitter: WarpEmitter, block: Block, end: Instruction) -> None:
    """Send each lane to the block its index names (PTX ISA section 9.7.12.2, brx.idx)."""
    index = emitter.read(end.operands[0], 32)
    lanes: dict[int, str] = {}
    running = emitter.lanes(end)
    for entry, target in enumerate(block.table):
        here = emitter.both(emitter.op("icmp eq", ints(32), index, emitter.constant(entry)), running)
        lanes[target] = emitter.op("or", MASK, lanes[target], here) if target in lanes else here
    paths = [(emitter.kernel.blocks[target], emitter.to_bits(mask)) for target, mask in lanes.items()]
    if end.predicate is not None:
        stay = emitter.to_bits(emitter.op("xor", MASK, running, emitter.active))
        paths.append((emitter.kernel.blocks[block.index + 1], stay))
    if any(target.priority <= block.priority for target, _ in paths):
        _burn_fuel(emitter, paths)
    for towards, mask in paths:
        _queue(emitter, towards, mask)
    emitter.emit(f"ret i64 {DONE}")


def _queue(emitter: WarpEmitter, block: Block, lanes: str) -> None:
    """Let lanes, if there are any, run a block when its turn comes."""
    emitter.call("queue_lanes", "void", ("ptr", "%state"), ("i32", block.priority), ("i32", lanes))


def _hold_back(emitter: WarpEmitter, block: Block) -> None:
    """Keep the dispatcher from a block until lanes join it, lanes exit, or nothing else can run."""
    emitter.call("hold_back", "void", ("ptr", "%state"), ("i32", block.priority))


def _burn_fuel(emitter: WarpEmitter, paths: Sequence[tuple[Block, str]]) -> None:
    """Count a backward jump; without fuel, let other lanes and then other warps run, which these lanes may be waiting for."""
    fuel = emitter.op("sub", "i64", emitter.field("fuel", "i64"), 1)
    emitter.set_field("fuel", "i64", fuel)
    empty, on = emitter.fresh("empty"), emitter.fresh("on")
    emitter.branch(emitter.value(f"icmp slt i64 {fuel}, 0"), empty, on)
    emitter.label(empty)
    for target, lanes in paths:
        _queue(emitter, target, lanes)
    for target, _ in paths:
        if target.priority <= emitter.block.priority:
            _hold_back(emitter, target)
    emitter.set_field("held", "i32", 1)
    emitter.leave(Status.YIELD)
    emitter.label(on)


# waiting


def _member_mask(instruction: Instruction) -> Operand | None:
    if instruction.name in _MEMBER_MASK_LAST:
        return instruction.operands[-1]
    if instruction.name == "bar" and instruction.has("warp"):
        return instruction.operands[0]
    return None


def _names_all(member: Operand) -> bool:
    return isinstance(member, Immediate) and member.value & ALL_LANES == ALL_LANES


def _wait_for_lanes(emitter: WarpEmitter, block: Block) -> None:
    """Hold the block back until every live lane its first instruction names has come here."""
    first = block.instructions[0]
    live = emitter.field("live", "i32")
    member = _member_mask(first)
    if member is None or _names_all(member):
        needed = live
    else:
        named = emitter.read(member, 32)
        mine = emitter.select(emitter.active, ints(32), named, ZERO)
        union = emitter.call(f"llvm.vector.reduce.or.v{LANES}i32", "i32", (ints(32), mine))
        needed = emitter.op("and", "i32", live, union)
    arrived = emitter.op("and", "i32", needed, emitter.active_bits)
    go, wait = emitter.fresh("go"), emitter.fresh("wait")
    emitter.branch(emitter.op("icmp eq", "i32", arrived, needed), go, wait)
    emitter.label(wait)
    _queue(emitter, block, emitter.active_bits)
    _hold_back(emitter, block)
    emitter.emit(f"ret i64 {WAITS}")
    emitter.label(go)


def _check_membership(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Report lanes that execute an instruction whose member mask leaves them out."""
    member = _member_mask(instruction)
    if member is None or _names_all(member):
        return
    named = emitter.read(member, 32)
    bit = emitter.lanes_of("i32", [signed(1 << lane, 32) for lane in range(LANES)])
    absent = emitter.op("icmp eq", ints(32), emitter.op("and", ints(32), named, bit), ZERO)
    lanes = emitter.to_bits(emitter.both(absent, emitter.lanes(instruction)))
    checker = emitter.launch_constant("checker")
    arguments = (("i64", emitter.state_number()), ("i64", checker), ("i32", instruction.index), ("i32", lanes))
    emitter.call("check_membership", "void", *arguments)


def _scalar(emitter: WarpEmitter, operand: Operand) -> str:
    if isinstance(operand, Immediate):
        return str(operand.value)
    lane = emitter.first_lane(emitter.active_bits)
    return emitter.value(f"extractelement {ints(32)} {emitter.read(operand, 32)}, i32 {lane}")


def _barrier(emitter: WarpEmitter, instruction: Instruction) -> None:
    """Hand the warp to the scheduler at a barrier of the block (PTX ISA section 9.7.13.1)."""
    if instruction.has("cluster"):
        raise refuse(instruction)
    if instruction.predicate is not None:
        raise refuse(instruction, "a predicated barrier")
    operands = list(instruction.operands)
    kind = next((_BARRIER_KINDS[part] for part in instruction.opcode[1:] if part in _BARRIER_KINDS), None)
    if kind is None:
        raise refuse(instruction)
    if instruction.has("red"):
        result, condition = operands.pop(0), operands.pop()
        _reduce_at_barrier(emitter, result, condition)
    flush_refused(emitter)
    if operands and isinstance(operands[0], Immediate) and not 0 <= operands[0].value < BARRIERS:
        raise refuse(instruction, f"a barrier that is none of 0 to {BARRIERS - 1}")
    number = _scalar(emitter, operands[0]) if operands else "0"
    threads = _scalar(emitter, operands[1]) if len(operands) > 1 else "0"
    emitter.set_field("barrier_kind", "i32", int(kind))
    emitter.set_field("barrier_id", "i32", number)
    emitter.set_field("barrier_count", "i32", threads)
    emitter.set_field("barrier_pc", "i32", instruction.index)
    emitter.write_back()
    _queue(emitter, emitter.kernel.blocks[emitter.block.successors[0]], emitter.active_bits)
    emitter.leave(Status.BARRIER)


def _reduce_at_barrier(emitter: WarpEmitter, result: Operand, condition: Operand) -> None:
    """Leave this warp's votes, and the place of the result, to the scheduler."""
    votes = emitter.op("and", "i32", emitter.to_bits(emitter.read_predicate(condition)), emitter.active_bits)
    slot = emitter.file.slots.get(result.name, SCRATCH) if isinstance(result, Register) else SCRATCH
    emitter.set_field("barrier_votes", "i32", votes)
    emitter.set_field("barrier_slot", "i32", slot)


def flush_refused(emitter: WarpEmitter) -> None:
    """End the launch if an access of this block was out of the arena's bounds; the first such instruction is named."""
    if not emitter.refused:
        return
    union = ZERO
    for _, lanes in emitter.refused:
        union = lanes if union == ZERO else emitter.op("or", MASK, union, lanes)
    bits = emitter.to_bits(union)
    bad, fine = emitter.fresh("bad"), emitter.fresh("fine")
    emitter.branch(emitter.value(f"icmp ne i32 {bits}, 0"), bad, fine)
    emitter.label(bad)
    index, who = str(emitter.refused[-1][0]), emitter.to_bits(emitter.refused[-1][1])
    for earlier, lanes in reversed(emitter.refused[:-1]):
        mine = emitter.to_bits(lanes)
        some = emitter.value(f"icmp ne i32 {mine}, 0")
        index = emitter.value(f"select i1 {some}, i32 {earlier}, i32 {index}")
        who = emitter.value(f"select i1 {some}, i32 {mine}, i32 {who}")
    emitter.fault(Fault.OUT_OF_BOUNDS, index, who)
    emitter.label(fine)
    emitter.refused = []
