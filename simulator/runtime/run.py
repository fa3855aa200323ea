"""Runs a launch without the checker; a finding says why a launch stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.interface.findings import Finding, finding_at
from simulator.interface.grid import Outcome
from simulator.interface.warp_state import LANES, PENDING, Fault
from simulator.runtime.launch import Execution, Launch, Request

if TYPE_CHECKING:
    from simulator.program import Program
    from simulator.ptx.model import Instruction

__all__ = ["run_fast", "stopped_by"]


def run_fast(program: Program, request: Request) -> Launch:
    """Run without the checker; only faults that end the launch are found."""
    execution = Execution(program, request)
    outcome = execution.run()
    findings = stopped_by(execution, outcome)
    printed = execution.prints.text(execution.arena.memory)
    execution.arena.give_back()
    return Launch(findings[0].kind if findings else "ok", findings, execution.instructions(), printed)


def stopped_by(execution: Execution, outcome: Outcome) -> list[Finding]:
    """Return one finding with the reason for which a launch stopped early; an empty list if it did not."""
    if outcome is Outcome.DONE:
        return []
    block, warp = (int(execution.grid[name][0]) for name in ("last_block", "last_warp"))
    kernel = execution.program.kernel
    if outcome is Outcome.FAULT:
        code, index, lane = execution.fault()
        if code is Fault.CHECKED:
            return []
        kind, message = {
            Fault.OUT_OF_BOUNDS: ("out_of_bounds", "an access outside the device's memory"),
            Fault.TRAP: ("trap", "the kernel executed a trap"),
            Fault.ASSERT: ("trap", "an assertion failed"),
        }[code]
        return [finding_at(kernel.instructions[index], kind, message, block=block, thread=warp * LANES + lane)]
    if outcome is Outcome.SPINNING:
        where = _first_waiting(execution, warp)
        message = "the loop never ends: the condition that it waits for never becomes true"
        return [finding_at(where, "deadlock", message, block=block, thread=warp * LANES)]
    if outcome is Outcome.STUCK:
        where = _first_waiting(execution, warp)
        message = "lanes wait here for lanes of their warp that wait elsewhere"
        return [finding_at(where, "barrier_divergence", message, block=block, thread=warp * LANES)]
    waiting = [w for w in range(execution.request.warps) if _first_waiting(execution, w) is not None]
    header = execution.header_of(execution.states)
    where = kernel.instructions[int(header["barrier_pc"][waiting[0]])] if waiting else None
    message = "the barrier never completes: warps wait for threads that never arrive"
    return [finding_at(where, "deadlock", message, block=block, thread=(waiting[0] if waiting else 0) * LANES)]


def _first_waiting(execution: Execution, warp: int) -> Instruction | None:
    """Return the first instruction at which lanes of a warp wait."""
    kernel = execution.program.kernel
    pending = execution.states[warp, PENDING : PENDING + 4 * len(kernel.blocks)].view(np.int32)
    by_priority = sorted(kernel.blocks, key=lambda block: block.priority)
    waiting = (by_priority[place] for place in np.flatnonzero(pending))
    return next((block.instructions[0] for block in waiting if block.instructions), None)
