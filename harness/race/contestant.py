"""``python -m harness.race.contestant``: one contestant of a race, which waits for a command while another contestant runs.

The process runs the commands that the race sends (`harness.child`). It serves one contestant of a board; on the next board it
may serve another contestant.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.child import Server
from harness.proof.cases.values import materialise
from harness.race import contestant_calls as calls
from harness.race import roofline
from harness.race.clock import settle, time_calls
from harness.race.contestant_buffers import BufferSets, altered, load_pristine, sample_of, write_pristine
from harness.race.quiet import core_share
from registry.devices import Cpu, DeviceMemory, set_threads
from registry.problem import Problem
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from registry.op import Op
    from registry.variant import Variant

__all__ = ["Contestant", "main", "serve"]

DOUBLE_LIMIT = 1 << 22
PROBES, PROBE_NS = 8, 1e7


class Contestant:
    """A contestant: the race sends `load`, then `prepare`, then `turn` repeatedly.

    Attributes
    ----------
    device : DeviceMemory
        The device of its buffers.
    commands : tuple of str
        The methods that the race may call.
    """

    device: DeviceMemory = Cpu()
    commands: tuple[str, ...] = (
        "load", "probe", "prepare", "turn", "save_outputs", "reference", "release", "quiet", "roofline", "memory",
    )  # fmt: skip

    def __init__(self, kernels_path: list[Path]) -> None:
        self.table = discover(*kernels_path)
        self.op: Op
        self.variant: Variant | None = None
        self.kind = ""
        self.threads = 1
        self.problem: Problem
        self.buffers: BufferSets | None = None
        self.bound: list[Callable[[], object]] = []
        self.cold = 0
        self.last = 0

    def load(self, *, op: str, kind: str, variant: str, threads: int) -> dict[str, Any]:
        """Take the role of a variant (kind ``variant`` or ``twice``), of torch, or of the ``empty`` control."""
        self.release()
        self.op, self.kind, self.threads = self.table.op(op), kind, threads
        self.variant = None if kind in ("torch", "empty") else self.table.variant(op, variant)
        if kind == "torch":
            import torch

            torch.set_num_threads(threads)
        set_threads(threads)
        return {}

    def _bind(self, problem: Problem, buffers: BufferSets) -> None:
        self.problem, self.buffers = problem, buffers
        if self.kind == "torch":
            self.bound = [calls.bind_torch(self.op, arrays, problem.params) for arrays in buffers.sets]
        elif self.kind == "empty" or self.variant is None:
            self.bound = [calls.bind_empty(self.op, arrays, problem.params) for arrays in buffers.sets]
        else:
            scratch = calls.workspace_for(self.variant, problem.dims, self.threads, self.device)
            self.bound = [calls.bind_variant(self.variant, arrays, problem.params, scratch) for arrays in buffers.sets]
            if self.kind == "twice":
                self.bound = [calls.both(call, self.bound[self._partner(i)]) for i, call in enumerate(self.bound)]

    def _partner(self, number: int) -> int:
        """Return the set for the second call of the control ``twice``: the set of the first call would be warm."""
        count = len(self.buffers or ())
        return (number + count // 2) % count

    def _time(self, numbers: Sequence[int]) -> float:
        """Call on these sets, one after the other, and return the average nanoseconds of a call."""
        return time_calls([self.bound[number] for number in numbers])

    def _evict(self) -> None:
        """Read other memory until the caches hold none of the buffers."""
        roofline.sweep(self.cold, self.threads)

    def probe(self, *, dims: dict[str, int], params: dict[str, Any], dtype: str, folder: str) -> dict[str, Any]:
        """Compile on a small problem and return the shortest time of a later call on it."""
        problem = Problem(self.op.name, dims, params, dtype=dtype)
        write_pristine(Path(folder), 0, materialise(self.op, problem))
        self._bind(problem, BufferSets(self.op, dims, problem.dtype, Path(folder), 1, device=self.device))
        times: list[float] = []
        while len(times) < PROBES and sum(times[1:]) < PROBE_NS:
            if self.buffers is not None:
                self.buffers.freshen(0, (0, len(times)))
            times.append(self._time([0]))
        self.release()
        return {"ns": min(times[1:])}

    def prepare(
        self, *, dims: dict[str, int], params: dict[str, Any], dtype: str, folder: str, sets: int, cold: int, heat: int
    ) -> dict[str, Any]:
        """Copy the drawn values into buffers of this process; `cold` is 0 or the number of bytes that the caches hold."""
        self.release()
        problem = Problem(self.op.name, dims, params, dtype=dtype)
        self._bind(problem, BufferSets(self.op, dims, dtype, Path(folder), sets, heat, self.device))
        self.cold = cold
        if cold:
            self._evict()
        return {}

    def _freshen(self, number: int, seed: tuple[int, ...]) -> None:
        if self.buffers is not None:
            self.buffers.freshen(number, (*seed, number))
            if self.kind == "twice":
                self.buffers.freshen(self._partner(number), (*seed, number))

    def turn(self, *, count: int, samples: int, seed: int, last: int, warm: bool) -> dict[str, Any]:
        """Time `samples` batches of `count` calls; the last call of the last batch uses set `last` with the values of `seed`.

        Under a warm protocol, `warm` adds one untimed call at the start. Under a cold protocol, a buffer larger than the
        caches is read before each batch.
        """
        size = len(self.bound)
        times: list[float] = []
        for sample in range(samples - 1, -1, -1):
            first = last - (sample + 1) * count + 1
            batch = [(first + i) % size for i in range(count)]
            if warm and not self.cold and not times:
                self._freshen(batch[0], (seed, samples))
                self.bound[batch[0]]()
            for number in batch:
                self._freshen(number, (seed, sample))
            if self.cold:
                self._evict()
            times.append(self._time(batch))
        self.last = last
        return {"ns": times, "settled_s": settle()}

    def save_outputs(self, *, seed: int, folder: str, name: str) -> dict[str, Any]:
        """Write the outputs of the last timed call to files; of a large output, randomly chosen blocks."""
        if self.buffers is None:
            raise RuntimeError("no call was timed yet")
        for index, output in enumerate(self.op.outputs):
            values = sample_of(self.device.get(self.buffers.sets[self.last][output]), (seed, index))
            np.save(Path(folder) / f"{name}.{output}.npy", values)
        return {}

    def reference(
        self, *, op: str, params: dict[str, Any], source: str, number: int, values: int, seed: int, folder: str
    ) -> dict[str, Any]:
        """Write the oracle's outputs for the call that every contestant made in one round."""
        checked_op = self.table.op(op)
        arrays = {name: np.array(array) for name, array in load_pristine(Path(source), number, checked_op).items()}
        for name, where, changed in altered(checked_op, load_pristine(Path(source), number, checked_op), (values, 0, number)):
            arrays[name].reshape(-1)[where] = changed
        double = sum(a.size for a in arrays.values()) <= DOUBLE_LIMIT
        for index, (output, value) in enumerate(calls.oracle_outputs(checked_op, arrays, params, double=double).items()):
            np.save(Path(folder) / f"reference.{output}.npy", sample_of(np.ascontiguousarray(value), (seed, index)))
        return {"double": double}

    def release(self) -> dict[str, Any]:
        """Free the buffers."""
        self.bound, self.buffers = [], None
        return {}

    def quiet(self, *, threads: int) -> dict[str, Any]:
        """Return the share of a core that each of `threads` threads gets."""
        return {"core_share": core_share(threads)}

    def roofline(self, *, threads: int) -> dict[str, Any]:
        """Measure the roofline of this machine."""
        set_threads(threads)
        return roofline.measure(threads)

    def memory(self, *, cache_bytes: int) -> dict[str, Any]:
        """Return the time of a read from memory over the time of the same read from the caches."""
        return {"ratio": roofline.cold_over_warm(cache_bytes)}


def serve(contestant_on: Callable[[list[Path]], Contestant]) -> int:
    """Serve the commands of a contestant, made from the folders of ``--kernels-path``, until the race closes the socket."""
    server = Server()
    warnings.simplefilter("ignore")
    contestant = contestant_on([Path(p) for p in sys.argv[1:]])
    server.serve(**{name: getattr(contestant, name) for name in contestant.commands})
    return 0


def main() -> int:
    """Serve a contestant on the CPU."""
    return serve(Contestant)


if __name__ == "__main__":
    sys.exit(main())
