"""One launch: memory laid out, states prepared, blocks run, memory and findings brought back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from simulator.codegen.layout import HEADER, LANES, Fault
from simulator.errors import LaunchError
from simulator.runtime.arguments import Dimensions, arrays_of, check_geometry, pack
from simulator.runtime.memory import Arena
from simulator.runtime.printing import PrintBuffer
from simulator.runtime.scheduler import Outcome, WarpFunction, run_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from simulator.checks.counters import Counters
    from simulator.checks.findings import Finding
    from simulator.program import Program

__all__ = ["Execution", "Launch", "Request"]

_FUEL, _PATIENCE = 10_000, 1_000


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launch came to.

    Parameters
    ----------
    status
        ``"ok"``, or the kind of the finding that stopped the launch before its end.
    findings
        Everything found wrong, in the order of the source; a fast launch finds only what stops it.
    counters
        What a checked launch counted.
    instructions
        Instructions executed, summed over threads.
    printed
        What the kernel printed.
    """

    status: str
    findings: list[Finding] = field(default_factory=list)
    counters: Counters | None = None
    instructions: int = 0
    printed: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller asked for."""

    grid: Dimensions
    block: Dimensions
    arguments: Sequence[object]
    shared: int
    order: str | int
    unwritten: frozenset[int]

    @property
    def threads(self) -> int:
        """Return the threads of a block."""
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def warps(self) -> int:
        """Return the warps of a block."""
        return (self.threads + LANES - 1) // LANES

    @property
    def blocks(self) -> int:
        """Return the blocks of the grid."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    def orders(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the orders in which blocks and warps run."""
        blocks, warps = np.arange(self.blocks, dtype=np.int64), np.arange(self.warps, dtype=np.int64)
        if self.order == "ascending":
            return blocks, warps
        if self.order == "descending":
            return blocks[::-1].copy(), warps[::-1].copy()
        if isinstance(self.order, str):
            raise LaunchError(f"order is 'ascending', 'descending' or a seed, not {self.order!r}.")
        draw = np.random.default_rng(self.order)
        return draw.permutation(blocks), draw.permutation(warps)


class Execution:
    """A request being carried out; what findings are made of stays readable after it."""

    def __init__(self, program: Program, request: Request) -> None:
        kernel = program.kernel
        check_geometry(kernel, request.grid, request.block, static=program.static_shared, dynamic=request.shared)
        self.program, self.request = program, request
        self.block_order, self.warp_order = request.orders()
        self.arena = Arena.lay_out(
            arrays_of(kernel, request.arguments),
            start=program.memory.end,
            shared=program.static_shared + request.shared,
            local=program.local_bytes,
            threads=request.warps * LANES,
        )
        pointers = {buffer.argument: self.arena.pointer(buffer.argument) for buffer in self.arena.buffers}
        self.arena.write_parameters(pack(kernel, request.arguments, pointers))
        program.memory.copy_into(self.arena)
        self.states = self._prepare_states()
        self.notes = np.zeros(16, np.int64)
        self.prints = PrintBuffer.for_kernel(kernel)

    def _prepare_states(self) -> npt.NDArray[np.uint8]:
        """Return one row of state per warp, its header filled in."""
        request, size = self.request, self.program.translation.state_bytes
        raw = np.zeros(request.warps * size + 64, np.uint8)
        skip = -raw.ctypes.data % 64
        states = raw[skip : skip + request.warps * size].reshape(request.warps, size)
        states[:, self.program.translation.layout.registers :] = 0xFF
        header = self.header_of(states)
        thread = np.arange(request.warps * LANES).reshape(request.warps, LANES)
        x, y, _ = request.block
        header["tid"][:, 0], header["tid"][:, 1], header["tid"][:, 2] = thread % x, thread // x % y, thread // (x * y)
        header["warp"], header["warps"] = np.arange(request.warps), request.warps
        header["ntid"], header["nctaid"] = request.block, request.grid
        header["dynamic_shared"] = request.shared
        header["arena"], header["arena_size"] = self.arena.address, len(self.arena.memory)
        header["shared"], header["shared_size"] = self.arena.shared, self.arena.shared_size
        stride = self.arena.local_stride
        header["local"] = self.arena.local + LANES * stride * np.arange(request.warps)
        header["local_stride"] = stride
        return states

    @staticmethod
    def header_of(states: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
        """Return the headers of all warps as one structured array."""
        return states[:, : HEADER.itemsize].view(HEADER)[:, 0]

    def run(self, checker: int = 0) -> Outcome:
        """Run every block; with the address of a checker's control block, checked."""
        layout, arena = self.program.translation.layout, self.arena
        header = self.header_of(self.states)
        header["checker"], header["print_buffer"] = checker, self.prints.address
        control = np.array(
            [
                layout.blocks,
                layout.words,
                layout.pending_set,
                layout.blocked_set,
                _FUEL,
                _PATIENCE,
                checker,
                self.request.threads,
                layout.registers,
            ],
            np.int64,
        )
        outcome = run_grid(
            WarpFunction(self.program.code.address),
            self.states.view(np.int32),
            self.states.view(np.int64),
            self.states.ctypes.data,
            control,
            np.array(self.request.grid, np.int64),
            self.block_order,
            self.warp_order,
            arena.memory[arena.shared : arena.shared + arena.shared_size],
            self.notes,
        )
        arena.copy_back()
        self.program.memory.copy_back(arena)
        return Outcome(outcome)

    # afterwards

    def block_counts(self) -> npt.NDArray[np.int64]:
        """Return per basic block its runs, its lane runs and its divergent branches, summed over warps."""
        layout = self.program.translation.layout
        start = layout.counters
        rows = self.states[:, start : start + 24 * layout.blocks]
        counts: npt.NDArray[np.int64] = np.ascontiguousarray(rows).view(np.int64).reshape(-1, layout.blocks, 3).sum(axis=0)
        return counts

    def instructions(self) -> int:
        """Return the instructions executed, summed over threads."""
        lengths = np.array([len(block.instructions) for block in self.program.kernel.blocks])
        return int(self.block_counts()[:, 1] @ lengths)

    def fault(self) -> tuple[Fault, int, int]:
        """Return the fault of the warp that stopped: its code, its instruction and its lowest lane."""
        state = self.header_of(self.states)[int(self.notes[8])]
        lanes = int(state["fault_lanes"]) & 0xFFFFFFFF
        return Fault(int(state["fault_code"])), int(state["fault_pc"]), max(0, (lanes & -lanes).bit_length() - 1)
