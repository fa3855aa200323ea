"""A session: the processes of the contestants, the controls, the roofline, and the races of one command's boards."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import psutil

from harness.proof.cases.values import materialise
from harness.race import roofline
from harness.race.board import MEBI, last_level_cache, params_for, shrunken
from harness.race.contestant_buffers import write_pristine
from harness.race.contestant_process import ContestantError, ContestantProcess
from harness.race.controls import is_quiet
from harness.race.rounds import SLOW_FACTOR, run_race
from registry.enums import Device, Status
from registry.machine import machine_key
from registry.paths import ROOT
from registry.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.race.board import Board
    from harness.race.rounds import Entry
    from registry.op import Op

__all__ = ["PROTOCOLS", "Session"]

PROTOCOLS = {Device.CPU: ("cpu-warm", "cpu-cold"), Device.CUDA: ("cuda-cold", "cuda-graph")}  # the first is the default
MOST_SETS = 64
LARGE_SET = 64 * MEBI
PROBE_WORK, PROBE_GROWTH, BELIEVED_S = 4e6, 16.0, 0.05
MEMORY_SHARE = 0.4
COMPILE_S = 300.0
PATIENCE_S = 0.5
LEAST_RACE_S = 0.3
ROOFLINE_ATTEMPTS = 3
ROOFLINES = ROOT / ".cache" / "roofline"


@dataclass
class Session:
    """The processes and measurements that all boards of one command share.

    Attributes
    ----------
    place : Device
        The device of the contestants.
    module : str
        The Python module that the processes of the contestants run.
    controls : dict
        ``a_a`` (ratio of two copies of one variant), ``twice`` (ratio of two calls to one), ``floor_us`` (an empty call).
    roof : dict
        The peaks measured by `harness.race.roofline.measure`, the best of this day.
    recorded : sequence of dict
        The peaks in the records of earlier races on this machine with the same thread count.
    loading_s : float
        Seconds spent on loading and compiling contestants.
    """

    place: ClassVar[Device] = Device.CPU
    module: ClassVar[str] = "harness.race.contestant"

    threads: int
    protocol: str
    kernels_path: Sequence[Path] = ()
    controls: dict[str, float] = field(default_factory=dict)
    roof: dict[str, float] = field(default_factory=dict)
    recorded: Sequence[dict[str, float]] = ()
    loading_s: float = 0.0
    cache_bytes: int = field(default_factory=last_level_cache)
    processes: list[ContestantProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.torch = ContestantProcess(self.kernels_path, module=self.module)
        shared = Path("/dev/shm")  # noqa: S108 (the session creates its own folder in it)
        roomy = shared.is_dir() and shutil.disk_usage(shared).free > psutil.virtual_memory().total // 4
        self._folder = tempfile.TemporaryDirectory(prefix="crucible-race-", dir=shared if roomy else None)
        self.folder = Path(self._folder.name)
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.processes, self.torch]:
            process.close()
        self._folder.cleanup()

    @property
    def cold_bytes(self) -> int:
        """0 under the warm protocol, else the size of the caches, whose contents are replaced before each batch."""
        return self.cache_bytes if self.protocol == "cpu-cold" else 0

    @property
    def has_baseline(self) -> bool:
        """Whether torch can run on the device of the contestants."""
        return True

    def process(self, number: int) -> ContestantProcess:
        """Return the process with this number, creating it if needed."""
        while len(self.processes) <= number:
            self.processes.append(ContestantProcess(self.kernels_path, module=self.module))
        return self.processes[number]

    def start(self, count: int) -> None:
        """Start torch's process and `count` others at the same time, and wait until all of them reply."""
        processes = [self.torch, *(self.process(number) for number in range(count))]
        for process in processes:
            process.start()
        for process in processes:
            process.ask("release")

    def set_count(self, board: Board) -> int:
        """Return the number of sets of buffers that the calls of `board` rotate over."""
        size = max(board.nbytes(), 1)
        room = 3 * self.cache_bytes if self.cold_bytes else self.cache_bytes // 4
        return max(2 if size <= LARGE_SET else 1, min(MOST_SETS, room // size))

    def is_tight(self, board: Board, sets: int, contestants: int) -> bool:
        """Whether memory is too small to hold the buffers of all contestants at once."""
        return bool(board.nbytes() * sets * contestants > MEMORY_SHARE * psutil.virtual_memory().available)

    def draw(self, board: Board) -> None:
        """Draw the values of `board` and write them to its folder, from which the contestants read them."""
        board.folder.mkdir(parents=True)
        for number in range(self.set_count(board)):
            problem = Problem(board.op.name, board.dims, board.params, dtype=board.dtype, seed=random.getrandbits(31))
            write_pristine(board.folder, number, materialise(board.op, problem))

    def load(
        self, entry: Entry, op: Op, dims: dict[str, int], patience_s: float = float("inf"), dtype: str = "float32"
    ) -> float:
        """Assign `entry` its role and compile it; return the predicted seconds of a call at `dims`.

        The prediction is extrapolated from a small call. If it exceeds `patience_s`, it is repeated from larger calls, until
        such a call takes long enough to be a reliable base.
        """
        entry.process.ask("load", COMPILE_S, op=op.name, kind=entry.kind, variant=entry.variant, threads=self.threads)
        work = PROBE_WORK
        while True:
            small = shrunken(op, dims, work)
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                params = params_for(op, small)
                problem = {"dims": small, "params": params, "dtype": dtype, "folder": folder}
                seconds = entry.process.ask("probe", COMPILE_S, **problem)["ns"] / 1e9
            whole, part = (max(op.flops(**d), op.bytes_moved(d)) for d in (dims, small))
            predicted = float(seconds * whole / max(part, 1))
            if predicted <= patience_s or seconds > BELIEVED_S or small == dims:
                return predicted
            work *= PROBE_GROWTH

    def race(self, board: Board, entries: list[Entry], budget_s: float, progress: Callable[[str, float], None]) -> None:
        """Load the contestants and race them for the rest of the time budget.

        A contestant is left out if it is much slower than the leader and one of its calls would exceed the time budget.
        """
        start = time.monotonic()
        patience_s = max(budget_s, PATIENCE_S)
        predicted: dict[str, float] = {}
        for entry in entries:
            progress(f"loading {entry.name}", 0.0)
            try:
                predicted[entry.name] = self.load(entry, board.op, board.dims, patience_s, board.dtype)
            except ContestantError as error:
                entry.fail(error)
        for entry in entries:
            seconds = predicted.get(entry.name, 0.0)
            if entry.kind != "torch" and seconds > max(patience_s, SLOW_FACTOR * min(predicted.values())):
                entry.status = Status.SLOW
                entry.note = f"one call would take about {seconds:.1f} s of a time budget of {budget_s:.1f} s"
        progress("drawing values", 0.0)
        self.draw(board)
        loading_s = time.monotonic() - start
        self.loading_s += loading_s
        try:
            run_race(self, board, entries, max(budget_s - loading_s, LEAST_RACE_S), progress)
        finally:
            shutil.rmtree(board.folder, ignore_errors=True)

    def measure_roofline(self, *, again: bool = False) -> None:
        """Read the peaks that were measured today, or measure them.

        With `again` the peaks are measured in any case and merged with the best on record: a contestant had a time that these
        peaks exclude. Other processes can only lower a measurement. Therefore peaks below half of the best on record are
        measured again, and replaced by the best on record if they stay there. Peaks measured on a busy machine are not kept
        for the day.
        """
        path = ROOFLINES / f"{machine_key(self.place)}.json"
        key = f"{datetime.now(UTC).date().isoformat()}/{self.threads}"
        known: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
        earlier = [roof for day, roof in known.items() if day.endswith(f"/{self.threads}")] + [*self.recorded]
        roof = known.get(key)
        quiet, doubted = True, again
        for _ in range(ROOFLINE_ATTEMPTS):
            if roof is not None and not again and roofline.is_plausible(roof, earlier):
                break
            measured: dict[str, float] = self.process(0).ask("roofline", threads=self.threads)
            roof, again = measured if roof is None else roofline.merged(measured, roof), False
            quiet = is_quiet(self)
        if roof is None:
            raise RuntimeError("no roofline was measured")
        believed = quiet and not doubted and roofline.is_plausible(roof, earlier)
        self.roof = roof if believed else roofline.merged(roof, *earlier)
        if quiet and self.roof != known.get(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**known, key: self.roof}, indent=1))
