"""One launch: lay out memory, prepare the states of the warps, run the blocks, copy memory back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import LaunchError
from simulator.interface.grid import GRID, Outcome
from simulator.interface.warp_state import BLOCK_COUNTER, HEADER, LANES, Fault
from simulator.native.library import library
from simulator.runtime.arguments import Dimensions, arrays_of, check_geometry, pack
from simulator.runtime.memory import Arena
from simulator.runtime.printing import PrintBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from simulator.interface.counters import Counters
    from simulator.interface.findings import Finding
    from simulator.interface.warp_state import StateLayout
    from simulator.program import Program

__all__ = ["Execution", "Launch", "Request"]

_FUEL, _PATIENCE = 10_000, 1_000


@dataclass(frozen=True)
class Launch:
    """The result of a launch.

    Parameters
    ----------
    status
        ``"ok"``, or the kind of the finding that stopped the launch before its end.
    findings
        All findings, in the order of the source; a fast launch finds only faults that stop it.
    instructions
        Instructions executed, summed over threads.
    printed
        The output of printf.
    count
        Returns the counters of a checked launch; None for a fast launch.
    """

    status: str
    findings: list[Finding] = field(default_factory=list)
    instructions: int = 0
    printed: str = ""
    count: Callable[[], Counters] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def counters(self) -> Counters | None:
        """Return the counters of a checked launch, summed up at the first use; None for a fast launch."""
        return self.count() if self.count is not None else None


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of a launch."""

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


@lru_cache(maxsize=16)
def _fresh_states(block: Dimensions, size: int, layout: StateLayout) -> npt.NDArray[np.uint8]:
    """Return the states of a block's warps, of `size` bytes each, as all launches begin."""
    x, y, z = block
    warps = (x * y * z + LANES - 1) // LANES
    states = np.zeros((warps, size), np.uint8)
    states[:, layout.registers :] = 0xFF
    header = Execution.header_of(states)
    thread = np.arange(warps * LANES).reshape(warps, LANES)
    header["tid"][:, 0], header["tid"][:, 1], header["tid"][:, 2] = thread % x, thread // x % y, thread // (x * y)
    header["warp"], header["warps"], header["ntid"] = np.arange(warps), warps, block
    header["pending_set"], header["blocked_set"] = layout.pending_set, layout.blocked_set
    return states


class Execution:
    """A launch in progress; its memory and states stay readable after it, for findings."""

    def __init__(self, program: Program, request: Request) -> None:
        kernel, memory = program.facts.signature, program.facts.memory
        check_geometry(kernel, request.grid, request.block, static=memory.static_shared, dynamic=request.shared)
        self.program, self.request = program, request
        self.block_order, self.warp_order = request.orders()
        self.arena = Arena.lay_out(
            arrays_of(kernel, request.arguments),
            start=program.memory.end,
            shared=[*memory.shared, (memory.dynamic_start, request.shared)],
            local=memory.local,
            threads=request.warps * LANES,
        )
        pointers = {buffer.argument: self.arena.pointer(buffer.argument) for buffer in self.arena.buffers}
        self.arena.write_parameters(pack(kernel, request.arguments, pointers))
        program.memory.copy_into(self.arena.memory)
        self.states = self._prepare_states()
        self.grid = np.zeros(1, GRID)
        self.prints = PrintBuffer(prints=program.facts.prints)

    def _prepare_states(self) -> npt.NDArray[np.uint8]:
        """Return one row of state per warp, its header filled in."""
        request, facts = self.request, self.program.facts
        fresh = _fresh_states(request.block, facts.state_bytes, facts.state)
        raw = np.empty(fresh.size + 64, np.uint8)
        skip = -raw.ctypes.data % 64
        states = raw[skip : skip + fresh.size].reshape(fresh.shape)
        states[:] = fresh
        header = self.header_of(states)
        header["nctaid"], header["dynamic_shared"] = request.grid, request.shared
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
        """Run every block; with the address of a `CHECKER`, checked."""
        layout, arena, request = self.program.facts.state, self.arena, self.request
        header = self.header_of(self.states)
        header["checker"], header["print_buffer"] = checker, self.prints.address
        for name, value in {
            "basic_blocks": self.program.basic_blocks.ctypes.data,
            "states": self.states.ctypes.data,
            "checker": checker,
            "state_bytes": self.states.shape[1],
            "counters": layout.counters,
            "registers": layout.registers,
            "basic_block_count": layout.blocks,
            "words": layout.words,
            "fuel": _FUEL,
            "patience": _PATIENCE,
            "warps": request.warps,
            "threads": request.threads,
            "block_count": request.blocks,
            "block_order": self.block_order.ctypes.data,
            "warp_order": self.warp_order.ctypes.data,
            "shared": arena.address + arena.shared,
            "shared_bytes": arena.shared_size,
            "dimensions": request.grid,
        }.items():
            self.grid[name] = value
        outcome = library().run_grid(self.grid.ctypes.data)
        arena.copy_back()
        self.program.memory.copy_back(arena.memory)
        return Outcome(outcome)

    # afterwards

    def block_counts(self) -> npt.NDArray[np.int64]:
        """Return per basic block its runs, its lane runs and its divergent branches, summed over warps."""
        layout = self.program.facts.state
        start = layout.counters
        rows = self.states[:, start : start + BLOCK_COUNTER.itemsize * layout.blocks]
        counts: npt.NDArray[np.int64] = np.ascontiguousarray(rows).view(np.int64).reshape(-1, layout.blocks, 3).sum(axis=0)
        return counts

    def instructions(self) -> int:
        """Return the instructions executed, summed over threads."""
        return int(self.block_counts()[:, 1] @ self.program.block_lengths)

    def fault(self) -> tuple[Fault, int, int]:
        """Return the fault of the warp that stopped: its code, its instruction and its lowest lane."""
        state = self.header_of(self.states)[int(self.grid["last_warp"][0])]
        lanes = int(state["fault_lanes"]) & 0xFFFFFFFF
        return Fault(int(state["fault_code"])), int(state["fault_pc"]), max(0, (lanes & -lanes).bit_length() - 1)
