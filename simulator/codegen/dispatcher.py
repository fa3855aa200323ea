"""The dispatcher of a warp: it runs the pending block that is lowest in topological order.

So lanes that parted meet again where their paths join. Blocks whose lanes wait for others are passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.layout import PENDING, Status

if TYPE_CHECKING:
    from simulator.codegen.warp_emitter import WarpEmitter

__all__ = ["emit_dispatcher"]


def emit_dispatcher(emitter: WarpEmitter, name: str) -> str:
    """Return the text of the function that runs a warp until it ends, waits at a barrier or faults."""
    blocks = emitter.kernel.blocks
    emitter.start(blocks[-1])
    by_priority = sorted(blocks, key=lambda block: block.priority)
    functions = ", ".join(f"ptr @{name}_{block.index}" for block in blocks)
    numbers = ", ".join(f"i32 {block.index}" for block in by_priority)
    head = [
        f"@{name}_functions = internal constant [{len(blocks)} x ptr] [{functions}]",
        f"@{name}_order = internal constant [{len(blocks)} x i32] [{numbers}]",
        f"define i32 @{name}(i64 %state.number) {{",
        "entry:",
        "  %state = inttoptr i64 %state.number to ptr",
        "  br label %dispatch",
    ]
    emitter.label("dispatch")
    picked = [_pick(emitter, name, word) for word in range(emitter.layout.words)]
    _nothing_to_run(emitter)
    emitter.label("run")
    emitter.emit(f"%block = phi i32 {', '.join(f'[ {b}, %{label} ]' for label, b, _ in picked)}, [ %result, %again ]")
    emitter.emit(f"%lanes = phi i32 {', '.join(f'[ {m}, %{label} ]' for label, _, m in picked)}, [ %lanes, %again ]")
    emitter.lines += [
        "  %block.index = zext i32 %block to i64",
        f"  %entry.address = getelementptr ptr, ptr @{name}_functions, i64 %block.index",
        "  %function = load ptr, ptr %entry.address",
        "  %result = call i32 %function(ptr %state, i32 %lanes)",
        "  %onward = icmp sge i32 %result, 0",
        "  br i1 %onward, label %again, label %stop",
        "again:",
        "  br label %run",
        "stop:",
        "  %undecided = icmp eq i32 %result, -1",
        "  br i1 %undecided, label %dispatch, label %out",
        "out:",
        "  %status = sub i32 -2, %result",
        "  ret i32 %status",
    ]
    return "\n".join([*head, *emitter.lines, "}"])


def _pick(emitter: WarpEmitter, name: str, word: int) -> tuple[str, str, str]:
    """Take the lowest pending block of one word of the set; return the LLVM block it comes from, its index and its lanes."""
    pending_at = emitter.address(emitter.layout.pending_set + 8 * word)
    blocked_at = emitter.address(emitter.layout.blocked_set + 8 * word)
    pending = emitter.value(f"load i64, ptr {pending_at}")
    blocked = emitter.value(f"load i64, ptr {blocked_at}")
    ready = emitter.op("and", "i64", pending, emitter.op("xor", "i64", blocked, -1))
    some, none = emitter.fresh("pick"), emitter.fresh("next")
    emitter.branch(emitter.value(f"icmp ne i64 {ready}, 0"), some, none)
    emitter.label(some)
    bit = emitter.call("llvm.cttz.i64", "i64", ("i64", ready), ("i1", "true"))
    cleared = emitter.op("xor", "i64", emitter.op("shl", "i64", "1", bit), -1)
    emitter.emit(f"store i64 {emitter.op('and', 'i64', pending, cleared)}, ptr {pending_at}")
    priority = emitter.op("add", "i64", bit, 64 * word)
    place = emitter.value(f"getelementptr i32, ptr {emitter.address(PENDING)}, i64 {priority}")
    lanes = emitter.value(f"load i32, ptr {place}")
    emitter.emit(f"store i32 0, ptr {place}")
    entry = emitter.value(f"getelementptr i32, ptr @{name}_order, i64 {priority}")
    block = emitter.value(f"load i32, ptr {entry}")
    emitter.emit("br label %run")
    emitter.label(none)
    return some, block, lanes


def _nothing_to_run(emitter: WarpEmitter) -> None:
    """End the warp where nothing is pending; where all that is waits, resume lanes that ran out of fuel, or give up."""
    union = "0"
    for word in range(emitter.layout.words):
        pending = emitter.value(f"load i64, ptr {emitter.address(emitter.layout.pending_set + 8 * word)}")
        union = emitter.op("or", "i64", union, pending)
    emitter.branch(emitter.value(f"icmp eq i64 {union}, 0"), "finished", "stuck")
    emitter.label("finished")
    emitter.emit(f"ret i32 {int(Status.EXIT)}")
    emitter.label("stuck")
    held = emitter.value(f"icmp ne i32 {emitter.field('held', 'i32')}, 0")
    emitter.branch(held, "resume", "deadlocked")
    emitter.label("resume")
    emitter.set_field("held", "i32", 0)
    for word in range(emitter.layout.words):
        emitter.emit(f"store i64 0, ptr {emitter.address(emitter.layout.blocked_set + 8 * word)}")
    emitter.emit("br label %dispatch")
    emitter.label("deadlocked")
    emitter.emit(f"ret i32 {int(Status.STUCK)}")
