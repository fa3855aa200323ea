"""The dispatcher of a warp: it runs the pending block that is lowest in topological order, and counts.

So lanes that parted meet again where their paths join. Blocks whose lanes wait for others are passed over. While all lanes go
the same way, nothing is queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.codegen.layout import DONE, OFFSETS, PENDING, WAITS, Status, returned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.codegen.layout import StateLayout
    from simulator.codegen.warp_emitter import WarpEmitter
    from simulator.ptx.model import Block

__all__ = ["emit_dispatcher", "hold_back", "queue"]

_BLOCK_COUNTERS = 24
"""Bytes: a block's runs, its lane runs and its divergent branches."""


def queue(emitter: WarpEmitter, block: Block, lanes: str) -> None:
    """Let lanes, if there are any, run a block when its turn comes."""
    emitter.emit(f"call void @queue(ptr %state, i32 {block.index}, i32 {lanes})")


def hold_back(emitter: WarpEmitter, block: Block) -> None:
    """Keep the dispatcher from a block until lanes join it, lanes exit, or nothing else can run."""
    emitter.emit(f"call void @hold_back(ptr %state, i32 {block.index})")


def emit_dispatcher(emitter: WarpEmitter, name: str) -> str:
    """Return the text of the function that runs a warp until it ends, waits at a barrier or faults, and of what it calls."""
    blocks = emitter.kernel.blocks
    emitter.start(blocks[-1])
    by_priority = sorted(blocks, key=lambda block: block.priority)
    exits = len(blocks) - 1
    functions = ", ".join(f"ptr @{name}_{block.index}" for block in blocks)
    head = [
        f"@{name}_functions = internal constant [{len(blocks)} x ptr] [{functions}]",
        _table(f"{name}_order", [block.index for block in by_priority]),
        _table("priorities", [block.priority for block in blocks]),
        _table(f"{name}_taken", [block.successors[0] if block.successors else exits for block in blocks]),
        _table(f"{name}_others", [block.successors[-1] if block.successors else exits for block in blocks]),
        _queue_functions(emitter.layout),
        f"define i32 @{name}(i64 %state.number) {{",
        "entry:",
        "  %state = inttoptr i64 %state.number to ptr",
        f"  %live.address = getelementptr i8, ptr %state, i64 {OFFSETS['live']}",
        f"  %counters = getelementptr i8, ptr %state, i64 {emitter.layout.counters}",
        "  br label %dispatch",
    ]
    emitter.label("dispatch")
    picked = [_pick(emitter, name, word) for word in range(emitter.layout.words)]
    _nothing_to_run(emitter)
    emitter.label("run")
    emitter.emit(f"%block = phi i32 {', '.join(f'[ {b}, %{label} ]' for label, b, _ in picked)}, [ %onward, %again ]")
    emitter.emit(f"%lanes = phi i32 {', '.join(f'[ {m}, %{label} ]' for label, _, m in picked)}, [ %lanes, %again ]")
    return "\n".join([*head, *emitter.lines, _run(name), "}"])


def _table(name: str, values: Iterable[int]) -> str:
    numbers = [f"i32 {value}" for value in values]
    return f"@{name} = internal constant [{len(numbers)} x i32] [{', '.join(numbers)}]"


def _run(name: str) -> str:
    """Return code that runs `%block` for `%lanes`, counts that, and goes where they went if they went together."""
    return f"""
  %block.index = zext i32 %block to i64
  %function.address = getelementptr ptr, ptr @{name}_functions, i64 %block.index
  %function = load ptr, ptr %function.address
  %result = call i64 %function(ptr %state, i32 %lanes)
  %waits = icmp eq i64 %result, {WAITS}
  br i1 %waits, label %dispatch, label %count
count:
  %row = mul i64 %block.index, {_BLOCK_COUNTERS}
  %runs.address = getelementptr i8, ptr %counters, i64 %row
  %runs = load i64, ptr %runs.address
  %runs.now = add i64 %runs, 1
  store i64 %runs.now, ptr %runs.address
  %lane.runs.address = getelementptr i64, ptr %runs.address, i64 1
  %lane.runs = load i64, ptr %lane.runs.address
  %number = call i32 @llvm.ctpop.i32(i32 %lanes)
  %number.long = zext i32 %number to i64
  %lane.runs.now = add i64 %lane.runs, %number.long
  store i64 %lane.runs.now, ptr %lane.runs.address
  %goes = icmp sge i64 %result, 0
  br i1 %goes, label %branch, label %stop
branch:
  %taken = trunc i64 %result to i32
  %others = xor i32 %lanes, %taken
  %taken.address = getelementptr i32, ptr @{name}_taken, i64 %block.index
  %taken.to = load i32, ptr %taken.address
  %others.address = getelementptr i32, ptr @{name}_others, i64 %block.index
  %others.to = load i32, ptr %others.address
  %none.taken = icmp eq i32 %taken, 0
  %all.taken = icmp eq i32 %others, 0
  %together = or i1 %none.taken, %all.taken
  br i1 %together, label %uniform, label %divergent
uniform:
  %onward = select i1 %none.taken, i32 %others.to, i32 %taken.to
  %live = load i32, ptr %live.address
  %all.live = icmp eq i32 %live, %lanes
  br i1 %all.live, label %again, label %apart
again:
  br label %run
apart:
  call void @queue(ptr %state, i32 %onward, i32 %lanes)
  br label %dispatch
divergent:
  %divergent.address = getelementptr i64, ptr %runs.address, i64 2
  %divergent.runs = load i64, ptr %divergent.address
  %divergent.now = add i64 %divergent.runs, 1
  store i64 %divergent.now, ptr %divergent.address
  call void @queue(ptr %state, i32 %taken.to, i32 %taken)
  call void @queue(ptr %state, i32 %others.to, i32 %others)
  br label %dispatch
stop:
  %queued = icmp eq i64 %result, {DONE}
  br i1 %queued, label %dispatch, label %out
out:
  %status.long = sub i64 {returned(Status.EXIT)}, %result
  %status = trunc i64 %status.long to i32
  ret i32 %status"""


def _queue_functions(layout: StateLayout) -> str:
    """Return `queue`, after which a block is no longer held back, and `hold_back`."""
    bit_of = """  %index = zext i32 %block to i64
  %priority.address = getelementptr i32, ptr @priorities, i64 %index
  %priority.word = load i32, ptr %priority.address
  %priority = zext i32 %priority.word to i64
  %word = lshr i64 %priority, 6
  %place = and i64 %priority, 63
  %bit = shl i64 1, %place"""
    return f"""declare i32 @llvm.ctpop.i32(i32)
define internal void @queue(ptr %state, i32 %block, i32 %lanes) {{
entry:
  %none = icmp eq i32 %lanes, 0
  br i1 %none, label %done, label %some
some:
{bit_of}
  %pending = getelementptr i8, ptr %state, i64 {PENDING}
  %lanes.address = getelementptr i32, ptr %pending, i64 %priority
  %lanes.before = load i32, ptr %lanes.address
  %lanes.now = or i32 %lanes.before, %lanes
  store i32 %lanes.now, ptr %lanes.address
  %pending.set = getelementptr i8, ptr %state, i64 {layout.pending_set}
  %pending.address = getelementptr i64, ptr %pending.set, i64 %word
  %pending.before = load i64, ptr %pending.address
  %pending.now = or i64 %pending.before, %bit
  store i64 %pending.now, ptr %pending.address
  %blocked.set = getelementptr i8, ptr %state, i64 {layout.blocked_set}
  %blocked.address = getelementptr i64, ptr %blocked.set, i64 %word
  %blocked.before = load i64, ptr %blocked.address
  %rest = xor i64 %bit, -1
  %blocked.now = and i64 %blocked.before, %rest
  store i64 %blocked.now, ptr %blocked.address
  br label %done
done:
  ret void
}}
define internal void @hold_back(ptr %state, i32 %block) {{
entry:
{bit_of}
  %blocked.set = getelementptr i8, ptr %state, i64 {layout.blocked_set}
  %blocked.address = getelementptr i64, ptr %blocked.set, i64 %word
  %blocked.before = load i64, ptr %blocked.address
  %blocked.now = or i64 %blocked.before, %bit
  store i64 %blocked.now, ptr %blocked.address
  ret void
}}"""


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
