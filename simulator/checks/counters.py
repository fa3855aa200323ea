"""Sums up the raw counts of a checked launch by source line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.clang import BUILTINS
from simulator.codegen.tensor_core import matrix_shape
from simulator.interface.counters import Counters, LineCounters
from simulator.interface.warp_state import LANES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from simulator.ptx.model import Instruction, Kernel

__all__ = ["count_lines"]

_TWO_FLOPS = {"fma", "mad"}
_ONE_FLOP = {"add", "sub", "mul", "div", "min", "max", "sqrt", "rsqrt", "rcp", "ex2", "lg2", "sin", "cos", "tanh", "abs", "neg"}
_FLOAT_TYPES = {"f16", "bf16", "f32", "f64", "f16x2", "bf16x2"}
_ACCESSES = {"ld", "ldu", "st", "ldmatrix", "atom", "red", "cp"}
_STORES = {"st", "red", "atom", "cp"}
_LOADS = {"ld", "ldu", "ldmatrix", "atom", "red", "cp"}


def _add_accesses(line: LineCounters, instruction: Instruction, rows: list[tuple[int, ...]]) -> None:
    """Add an instruction's counts for device memory and for shared memory."""
    (requests, _, sectors, ideal_sectors, moved), (shared_requests, _, wavefronts, ideal, moved_shared) = rows
    line.requests += requests
    line.sectors += sectors
    line.ideal_sectors += ideal_sectors
    line.shared_requests += shared_requests
    line.wavefronts += wavefronts
    line.bank_conflicts += wavefronts - ideal
    copies = instruction.name == "cp"
    if instruction.name in _LOADS:
        line.bytes_loaded += moved + (0 if copies else moved_shared)
    if instruction.name in _STORES:
        line.bytes_stored += moved_shared + (0 if copies else moved)


def _add_runs(line: LineCounters, instruction: Instruction, runs: int, lanes: int) -> None:
    line.instructions += runs
    line.active_lanes += lanes
    kind, each = _flops(instruction)
    if each:
        line.flops[kind] += each * lanes


def _line_of(instruction: Instruction) -> tuple[str, int]:
    """Return the innermost line of the user's files or of the headers of kernels, not of the simulator's own header."""
    own = str(BUILTINS)
    where = next((frame for frame in instruction.frames if frame.path != own), instruction.location)
    return (where.path, where.line) if where else ("", instruction.ptx_line)


def _flops(instruction: Instruction) -> tuple[str, int]:
    """Return the type and the floating-point operations of one lane."""
    if instruction.name == "mma":
        m, n, k = matrix_shape(instruction)
        return f"{instruction.types[-3]} mma", 2 * m * n * k // LANES
    kind = instruction.type
    if kind not in _FLOAT_TYPES:
        return kind, 0
    each = 2 if instruction.name in _TWO_FLOPS else int(instruction.name in _ONE_FLOP)
    return kind.removesuffix("x2"), 2 * each if kind.endswith("x2") else each


def count_lines(kernel: Kernel, runs: npt.NDArray[np.int64], accesses: npt.NDArray[np.void]) -> Counters:
    """Sum up by line: `runs` per basic block (runs, lane runs, divergent branches), `accesses` (`COUNTER`) per instruction."""
    counters = Counters()
    by_instruction = accesses.tolist()
    for block, (times, lanes, divergent) in zip(kernel.blocks, runs.tolist(), strict=True):
        if not times:
            continue
        if block.terminator is not None and len(block.successors) > 1:
            counters.branches += times
            counters.divergent_branches += divergent
        for instruction in block.instructions:
            counters.mix[instruction.name] += times
            line = counters.lines.setdefault(_line_of(instruction), LineCounters())
            _add_runs(line, instruction, times, lanes)
            if instruction.name in _ACCESSES:
                _add_accesses(line, instruction, by_instruction[instruction.index])
    for line in counters.lines.values():
        counters.total.add(line)
    return counters
