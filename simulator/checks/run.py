"""A checked launch: shadow memory and control block laid out, the grid run, findings and counters told by line."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from simulator.checks.access import INITIALISED, READ_ONLY, VALID
from simulator.checks.copies import COPY_FIELDS, QUEUE_LENGTH
from simulator.checks.counters import count_lines
from simulator.checks.findings import Finding, finding_at, told
from simulator.checks.history import HISTORY_WORDS
from simulator.checks.layout import (
    CLOCK,
    CONTROL_WORDS,
    COUNTER_FIELDS,
    RECORD_FIELDS,
    REPORT_FIELDS,
    VARIABLE_KEY,
    VARIABLE_KNOWN,
    Field,
)
from simulator.codegen.layout import LANES, PARAMETER_BYTES, PARAMETERS
from simulator.errors import LaunchError
from simulator.runtime.launch import Execution, Launch, Request
from simulator.runtime.memory import Reserve
from simulator.runtime.run import stopped_by
from simulator.runtime.scheduler import Outcome

if TYPE_CHECKING:
    import numpy.typing as npt

    from simulator.checks.counters import Counters
    from simulator.program import Program

__all__ = ["run_checked"]

_MAX_BLOCKS = (1 << 24) - 2
_MAX_REPORTS = 256
_MAX_RECORDS = 1 << 16
_RECORD_BYTES = 1 << 28
_histories = Reserve(limit=1 << 28)


class _Checker:
    """The arrays the checker works on, for one launch."""

    def __init__(self, execution: Execution) -> None:
        request, arena, program = execution.request, execution.arena, execution.program
        if request.blocks > _MAX_BLOCKS:
            raise LaunchError(f"{program.name}: a checked launch has at most {_MAX_BLOCKS:,} blocks.")
        size, threads = len(arena.memory), request.warps * LANES
        shift = program.facts.narrowest_access.bit_length() - 1  # what lies in one granule of memory shares a history
        records = min(_MAX_RECORDS, max(64, _RECORD_BYTES // (4 * threads)), 64 * request.blocks)
        self.shadow = _shadow(execution)
        self.granules = (size >> shift) + 1
        self.history = _histories.take(8 * HISTORY_WORDS * self.granules)
        self.history[:] = 0
        self.reports = np.zeros((_MAX_REPORTS, REPORT_FIELDS), np.int64)
        self.counters = np.zeros((program.facts.instructions, 2, COUNTER_FIELDS), np.int64)
        self.copies = np.empty((threads, QUEUE_LENGTH, COPY_FIELDS) if program.facts.copies else 1, np.int64)
        self.copy_state = np.empty((threads, 2), np.int64)
        self.records = np.empty((records, RECORD_FIELDS), np.int64)
        self.record_rows = np.empty((records, threads), np.int32)
        self.record_heads = np.zeros(request.blocks, np.int64)
        self.control = np.empty(CONTROL_WORDS, np.int64)  # but for the parts set here, each block begins with its own
        self.control[:CLOCK] = 0
        self.control[VARIABLE_KEY:VARIABLE_KNOWN] = 0
        for name, value in {
            Field.SHADOW: self.shadow.ctypes.data,
            Field.ARENA_SIZE: size,
            Field.GRANULE_SHIFT: shift,
            Field.HISTORY: self.history.ctypes.data,
            Field.GRANULES: self.granules,
            Field.WARPS: request.warps,
            Field.THREADS: threads,
            Field.SHARED_START: arena.shared,
            Field.SHARED_END: arena.shared + arena.shared_size,
            Field.LOCAL_START: arena.local,
            Field.REPORTS: self.reports.ctypes.data,
            Field.REPORT_LIMIT: len(self.reports),
            Field.COUNTERS: self.counters.ctypes.data,
            Field.COPIES: self.copies.ctypes.data,
            Field.COPY_STATE: self.copy_state.ctypes.data,
            Field.RECORDS: self.records.ctypes.data,
            Field.RECORD_LIMIT: records,
            Field.RECORD_HEADS: self.record_heads.ctypes.data,
            Field.RECORD_ROWS: self.record_rows.ctypes.data,
            Field.INSTRUCTIONS: program.facts.instructions,
            Field.LEARNED: 1,
            Field.PATTERNS: program.patterns.ctypes.data,
        }.items():
            self.control[name] = value

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Return the reports written."""
        return self.reports[: int(self.control[Field.REPORT_COUNT])]


def _shadow(execution: Execution) -> npt.NDArray[np.uint8]:
    """Return shadow memory: what may be accessed, what has a value, what must not be written."""
    arena, program = execution.arena, execution.program
    shadow = np.zeros(len(arena.memory), np.uint8)
    shadow[PARAMETERS : PARAMETERS + PARAMETER_BYTES] = VALID | INITIALISED | READ_ONLY
    for variable in program.memory.variables:
        space, start = program.memory.places[variable.name]
        shadow[start : start + variable.size] = VALID | INITIALISED | (READ_ONLY if space == "const" else 0)
    for buffer in arena.buffers:
        part = shadow[buffer.offset : buffer.offset + buffer.size]
        written = buffer.argument not in execution.request.unwritten
        part |= VALID | (INITIALISED if written else 0) | (0 if buffer.array.flags.writeable else READ_ONLY)
    for buffer in arena.buffers:
        if buffer.array.flags.writeable:
            shadow[buffer.offset : buffer.offset + buffer.size] &= ~np.uint8(READ_ONLY)
    for start, size in arena.shared_parts:
        shadow[start : start + size] = VALID
    shadow[arena.local : arena.local + arena.local_stride * execution.request.warps * LANES] = VALID | INITIALISED
    return shadow


def run_checked(program: Program, request: Request) -> Launch:
    """Run with the checker."""
    execution = Execution(program, request)
    checker = _Checker(execution)
    outcome = execution.run(checker.control.ctypes.data)
    findings = [told(program.kernel, execution.arena, row) for row in checker.rows.tolist()]
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


def _counted(program: Program, blocks: npt.NDArray[np.int64], counters: npt.NDArray[np.int64]) -> Counters:
    return count_lines(program.kernel, blocks, counters)


def _barrier_findings(execution: Execution) -> list[Finding]:
    """Return what the scheduler noted of barriers that completed although they should not be relied upon."""
    program, notes = execution.program, execution.notes
    found = []
    if notes[0]:
        first, second = (program.kernel.instructions[int(notes[k])] for k in (1, 2))
        if first.location != second.location:
            message = f"warps of a block meet at different barriers, here and at {second.where}"
            found.append(finding_at(first, "barrier_divergence", message, block=int(notes[3]), thread=0))
    if notes[4]:
        where = program.kernel.instructions[int(notes[5])]
        message = "threads of the block have exited before this barrier"
        found.append(finding_at(where, "barrier_divergence", message, block=int(notes[6]), thread=0))
    return found
