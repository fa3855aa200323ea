"""A checked launch: lays out shadow memory and the checker, runs the grid, returns findings and counters by source line."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from simulator.checks.counters import count_lines
from simulator.checks.reports import finding_of_report
from simulator.errors import LaunchError
from simulator.interface.checker import CHECKER, COPY, COUNTER, GRANULE, QUEUE_LENGTH, RECORD, REPORT, Shadow
from simulator.interface.findings import Finding, finding_at
from simulator.interface.grid import Outcome
from simulator.interface.warp_state import LANES, PARAMETER_BYTES, PARAMETERS
from simulator.runtime.launch import Execution, Launch, Request
from simulator.runtime.memory import Reserve
from simulator.runtime.run import stopped_by

if TYPE_CHECKING:
    import numpy.typing as npt

    from simulator.interface.counters import Counters
    from simulator.program import Program

__all__ = ["run_checked"]

_MAX_BLOCKS = (1 << 24) - 2
_MAX_REPORTS = 256
_MAX_RECORDS = 1 << 16
_RECORD_BYTES = 1 << 28
_VALID, _READ_ONLY = int(Shadow.VALID), int(Shadow.READ_ONLY)
_READABLE = int(Shadow.VALID | Shadow.INITIALISED)
_histories = Reserve(limit=1 << 28)


class _Checker:
    """The arrays the checker works on, for one launch."""

    def __init__(self, execution: Execution) -> None:
        request, arena, program = execution.request, execution.arena, execution.program
        if request.blocks > _MAX_BLOCKS:
            raise LaunchError(f"{program.name}: a checked launch has at most {_MAX_BLOCKS:,} blocks.")
        size, threads = len(arena.memory), request.warps * LANES
        shift = program.facts.narrowest_access.bit_length() - 1  # bytes of one granule of memory share a history
        records = min(_MAX_RECORDS, max(64, _RECORD_BYTES // (4 * threads)), 64 * request.blocks)
        self.shadow = _shadow(execution)
        self.history = _histories.take(GRANULE.itemsize * ((size >> shift) + 1))
        self.history[:] = 0
        self.reports = np.zeros(_MAX_REPORTS, REPORT)
        self.counters = np.zeros((program.facts.instructions, 2), COUNTER)
        self.copies = np.empty((threads, QUEUE_LENGTH) if program.facts.copies else 1, COPY)
        self.copy_state = np.empty((threads, 2), np.int64)
        self.records = np.empty(records, RECORD)
        self.record_rows = np.empty((records, threads), np.int32)
        self.record_heads = np.zeros(request.blocks, np.int64)
        self.state = np.empty(1, CHECKER)  # but for the fields set here, each block begins with its own
        for name, value in {
            "shadow": self.shadow.ctypes.data,
            "arena_size": size,
            "granule_shift": shift,
            "granules": self.history.ctypes.data,
            "warps": request.warps,
            "threads": threads,
            "shared_start": arena.shared,
            "shared_end": arena.shared + arena.shared_size,
            "local_start": arena.local,
            "reports": self.reports.ctypes.data,
            "report_count": 0,
            "report_limit": len(self.reports),
            "counters": self.counters.ctypes.data,
            "patterns": program.patterns.ctypes.data,
            "copies": self.copies.ctypes.data,
            "copy_state": self.copy_state.ctypes.data,
            "records": self.records.ctypes.data,
            "record_count": 0,
            "record_limit": records,
            "record_heads": self.record_heads.ctypes.data,
            "record_rows": self.record_rows.ctypes.data,
            "variable_count": 0,
            "variable_inherited": 0,
            "variable_block": 0,
            "learned": 1,
        }.items():
            self.state[name] = value

    @property
    def rows(self) -> npt.NDArray[np.void]:
        """Return the reports written."""
        return self.reports[: int(self.state["report_count"][0])]


def _shadow(execution: Execution) -> npt.NDArray[np.uint8]:
    """Return shadow memory: for each byte, whether it is valid, initialised and read-only."""
    arena, program = execution.arena, execution.program
    shadow = np.zeros(len(arena.memory), np.uint8)
    shadow[PARAMETERS : PARAMETERS + PARAMETER_BYTES] = _READABLE | _READ_ONLY
    for variable in program.memory.variables:
        space, start = program.memory.places[variable.name]
        shadow[start : start + variable.size] = _READABLE | (_READ_ONLY if space == "const" else 0)
    for buffer in arena.buffers:
        part = shadow[buffer.offset : buffer.offset + buffer.size]
        written = buffer.argument not in execution.request.unwritten
        part |= (_READABLE if written else _VALID) | (0 if buffer.array.flags.writeable else _READ_ONLY)
    for buffer in arena.buffers:
        if buffer.array.flags.writeable:
            shadow[buffer.offset : buffer.offset + buffer.size] &= ~np.uint8(_READ_ONLY)
    for start, size in arena.shared_parts:
        shadow[start : start + size] = _VALID
    shadow[arena.local : arena.local + arena.local_stride * execution.request.warps * LANES] = _READABLE
    return shadow


def run_checked(program: Program, request: Request) -> Launch:
    """Run with the checker."""
    execution = Execution(program, request)
    checker = _Checker(execution)
    outcome = execution.run(checker.state.ctypes.data)
    findings = [finding_of_report(program.kernel, execution.arena, row) for row in checker.rows.tolist()]
    status = findings[-1].kind if outcome is Outcome.FAULT and findings else "ok"
    stopped = stopped_by(execution, outcome)
    if stopped:
        status = stopped[0].kind
    findings += stopped + _barrier_findings(execution)
    findings.sort(key=lambda finding: (finding.path, finding.line, finding.kind))
    count = partial(_counted, program, execution.block_counts(), checker.counters)
    printed = execution.prints.text(execution.arena.memory)
    execution.arena.give_back()
    _histories.give_back(checker.history)
    return Launch(status, findings, execution.instructions(), printed, count)


def _counted(program: Program, blocks: npt.NDArray[np.int64], counters: npt.NDArray[np.void]) -> Counters:
    return count_lines(program.kernel, blocks, counters)


def _barrier_findings(execution: Execution) -> list[Finding]:
    """Return findings for barriers that completed although not all threads reached the same barrier."""
    program, notes = execution.program, execution.grid[0]
    findings = []
    if notes["mixed"]:
        first, second = (program.kernel.instructions[notes[name]] for name in ("mixed_first", "mixed_second"))
        if first.location != second.location:
            message = f"warps of a block meet at different barriers, here and at {second.where}"
            findings.append(finding_at(first, "barrier_divergence", message, block=int(notes["mixed_block"]), thread=0))
    if notes["exited"]:
        where = program.kernel.instructions[notes["exited_first"]]
        message = "threads of the block have exited before this barrier"
        findings.append(finding_at(where, "barrier_divergence", message, block=int(notes["exited_block"]), thread=0))
    return findings
