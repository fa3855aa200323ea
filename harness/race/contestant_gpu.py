"""``python -m harness.race.contestant_gpu``: a contestant whose buffers are on the GPU, timed by CUDA events.

Every call of the process uses one stream, which belongs to the process. Under ``cuda-graph``, a batch of calls is captured once
and then replayed. Unverified on hardware: no GPU has run this module yet. It follows CuPy's documented interface
(`cupy.cuda.Stream`, `Event`, `Graph`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.race.clock import time_calls
from harness.race.contestant import Contestant, serve
from registry.cuda_graph import capture
from registry.devices import Gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["GpuContestant", "main"]

LEAST_NS = 1.0  # smallest time of a call: both events may read the same time
COPIES = 10
COPIED_CACHES = 8  # a copied buffer is this many times the L2 cache, so that the cache does not speed up the copy
# Upper bounds per multiprocessor and clock, which no GPU exceeds today: dense bf16 operations of the tensor cores (compute
# capability 10.0, a multiply-add is two operations), and bytes loaded from the L1 cache.
FLOPS_A_CLOCK, BYTES_A_CLOCK = 16384, 128


class GpuContestant(Contestant):
    """A contestant on the current GPU."""

    device = Gpu()
    commands = (*Contestant.commands, "torch_sees_gpu")

    def __init__(self, kernels_path: list[Path]) -> None:
        import cupy

        super().__init__(kernels_path)
        self.cupy: Any = cupy
        self.stream: Any = cupy.cuda.Stream(non_blocking=True)
        self.stream.use()
        self.replays: dict[tuple[int, ...], Callable[[], object]] | None = None
        self.scratch: Any = None

    def load(self, *, op: str, kind: str, variant: str, threads: int) -> dict[str, Any]:
        """Take a role, as on the CPU; torch uses the stream of this process."""
        reply = super().load(op=op, kind=kind, variant=variant, threads=threads)
        if kind == "torch":
            import torch

            streams: Any = torch.cuda
            streams.set_stream(streams.ExternalStream(self.stream.ptr))
        return reply

    def prepare(
        self, *, dims: dict[str, int], params: dict[str, Any], dtype: str, folder: str, sets: int, cold: int, heat: int
    ) -> dict[str, Any]:
        """Copy the drawn values to the GPU; `cold` is 0 for replayed graphs, else the size of the L2 cache."""
        super().prepare(dims=dims, params=params, dtype=dtype, folder=folder, sets=sets, cold=cold, heat=heat)
        self.bound[0]()  # this call loads the modules, which must not be loaded while the stream captures
        self.stream.synchronize()
        self.replays = None if cold else {}
        return {}

    def release(self) -> dict[str, Any]:
        """Free the buffers on the GPU."""
        self.replays = None
        reply = super().release()
        self.cupy.get_default_memory_pool().free_all_blocks()
        return reply

    def _time(self, numbers: Sequence[int]) -> float:
        calls = [self.bound[number] for number in numbers] if self.replays is None else [self._replay(tuple(numbers))]
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        start.record(self.stream)
        time_calls(calls)
        end.record(self.stream)
        end.synchronize()
        return max(float(self.cupy.cuda.get_elapsed_time(start, end)) * 1e6 / len(numbers), LEAST_NS)

    def _replay(self, numbers: tuple[int, ...]) -> Callable[[], object]:
        if self.replays is None:
            raise RuntimeError("no graph is replayed under this protocol")
        if numbers not in self.replays:
            self.replays[numbers] = self._captured([self.bound[number] for number in numbers])
        return self.replays[numbers]

    def _captured(self, calls: list[Callable[[], object]]) -> Callable[[], object]:
        """Capture `calls` without running them, and return a function that replays them."""
        if self.kind == "torch":
            import torch

            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured, stream=torch.cuda.current_stream()):
                for call in calls:
                    call()
            replay: Callable[[], object] = captured.replay
            return replay
        return capture(self.stream, lambda: [call() for call in calls])

    def _evict(self) -> None:
        if self.scratch is None or self.scratch.nbytes < 2 * self.cold:
            self.scratch = self.cupy.zeros((2 * self.cold // 4,), np.float32)
        self.scratch.sum()

    def torch_sees_gpu(self) -> dict[str, Any]:
        """Return whether torch is built for CUDA and finds a GPU."""
        import torch

        return {"yes": torch.cuda.is_available()}

    def roofline(self, *, threads: int) -> dict[str, Any]:
        """Measure the memory bandwidth of the GPU by copying; compute the other peaks as upper bounds from its clock."""
        del threads
        attributes = self.cupy.cuda.Device().attributes
        clocks = attributes["MultiProcessorCount"] * attributes["ClockRate"] / 1e6  # kHz to clocks per nanosecond
        size = attributes["L2CacheSize"]
        source, target = (self.cupy.zeros((COPIED_CACHES * size // 4,), np.float32) for _ in range(2))
        self.bound, self.replays = [lambda: target.__setitem__(Ellipsis, source)], None
        fastest = min(self._time([0]) for _ in range(COPIES))
        self.release()
        memory, caches = 2 * source.nbytes / fastest, BYTES_A_CLOCK * clocks
        return {"gflops": FLOPS_A_CLOCK * clocks, "gb_s@1": max(caches, memory), f"gb_s@{size}": memory}


def main() -> int:
    """Race on the GPU."""
    return serve(GpuContestant)


if __name__ == "__main__":
    sys.exit(main())
