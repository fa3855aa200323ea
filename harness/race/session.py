"""A racing session: the contestants' processes, the controls, the measured roofline, and one board after the other."""

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
from registry.machine import machine_key
from registry.problem import Problem
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.race.board import Board
    from harness.race.rounds import Entry
    from registry.op import Op

__all__ = ["PROTOCOLS", "Session"]

PROTOCOLS = {"host": ("cpu-warm", "cpu-cold"), "cuda": ("cuda-cold", "cuda-graph")}  # the first is the usual one
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
    """What all boards of one command share.

    Attributes
    ----------
    place, module : str
        Where contestants run, as records say it, and what their processes run.
    controls : dict
        ``a_a`` (two copies of one variant), ``twice`` (one that is called twice), ``floor_us`` (an empty call).
    roof : dict
        What `harness.race.roofline.measure` found, the best of this day.
    recorded : sequence of dict
        What it found in earlier races of this machine with as many threads.
    loading_s : float
        Seconds in which contestants were loaded and compiled.
    """

    place: ClassVar[str] = "host"
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
        shared = Path("/dev/shm")  # noqa: S108 (a folder of our own is made inside)
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
        """0 under the warm protocol, else what has to be pushed out of the caches."""
        return self.cache_bytes if self.protocol == "cpu-cold" else 0

    @property
    def has_yardstick(self) -> bool:
        """Whether torch can run where the contestants run."""
        return True

    def process(self, number: int) -> ContestantProcess:
        """Return the process of one slot."""
        while len(self.processes) <= number:
            self.processes.append(ContestantProcess(self.kernels_path, module=self.module))
        return self.processes[number]

    def start(self, count: int) -> None:
        """Start torch's process and those of `count` slots, at once, and wait until none of them is busy with its start."""
        started = [self.torch, *(self.process(number) for number in range(count))]
        for process in started:
            process.start()
        for process in started:
            process.ask("release")

    def set_count(self, board: Board) -> int:
        """Return how many sets of buffers the calls of `board` rotate over."""
        size = max(board.nbytes(), 1)
        room = 3 * self.cache_bytes if self.cold_bytes else self.cache_bytes // 4
        return max(2 if size <= LARGE_SET else 1, min(MOST_SETS, room // size))

    def is_tight(self, board: Board, sets: int, contestants: int) -> bool:
        """Whether the contestants' buffers may not all stay in memory between turns."""
        return bool(board.nbytes() * sets * contestants > MEMORY_SHARE * psutil.virtual_memory().available)

    def draw(self, board: Board) -> None:
        """Draw the values of `board` and write them where the contestants find them."""
        board.folder.mkdir(parents=True)
        for number in range(self.set_count(board)):
            problem = Problem(board.op.name, board.dims, board.params, dtype=board.dtype, seed=random.getrandbits(31))
            write_pristine(board.folder, number, materialise(board.op, problem))

    def load(
        self, entry: Entry, op: Op, dims: dict[str, int], patience_s: float = float("inf"), dtype: str = "float32"
    ) -> float:
        """Give `entry` its role and let it compile; return the predicted seconds of a call at `dims`.

        The prediction comes from a small call. One that is over `patience_s` is made again from larger calls, until they
        take long enough to be believed.
        """
        entry.process.ask("load", op=op.name, kind=entry.kind, variant=entry.variant, threads=self.threads, limit_s=COMPILE_S)
        work = PROBE_WORK
        while True:
            small = shrunken(op, dims, work)
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                params = params_for(op, small)
                asked = {"dims": small, "params": params, "dtype": dtype, "folder": folder}
                taken = entry.process.ask("probe", **asked, limit_s=COMPILE_S)["ns"] / 1e9
            whole, part = (max(op.flops(**d), op.bytes_moved(d)) for d in (dims, small))
            predicted = float(taken * whole / max(part, 1))
            if predicted <= patience_s or taken > BELIEVED_S or small == dims:
                return predicted
            work *= PROBE_GROWTH

    def race(self, board: Board, entries: list[Entry], budget_s: float, progress: Callable[[str, float], None]) -> None:
        """Load the contestants and race them for what is then left of the budget.

        Those much slower than the leader that would need more than the budget for one call are left out.
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
                entry.status = "slow"
                entry.note = f"one call would take about {seconds:.1f} s of a budget of {budget_s:.1f} s"
        progress("drawing values", 0.0)
        self.draw(board)
        loading_s = time.monotonic() - start
        self.loading_s += loading_s
        try:
            run_race(self, board, entries, max(budget_s - loading_s, LEAST_RACE_S), progress)
        finally:
            shutil.rmtree(board.folder, ignore_errors=True)

    def measure_roofline(self, *, again: bool = False) -> None:
        """Read today's peaks, or measure them.

        With `again` they are measured anyway, and the best on record counts: a time that beats the peaks casts doubt on them.
        Other processes can only lower a measurement. Peaks below half of the best on record are measured again; those that
        stay there are replaced by the best on record. Peaks that were measured on a busy machine are not kept for the day.
        """
        path = ROOFLINES / f"{machine_key(self.place)}.json"
        key = f"{datetime.now(UTC).date().isoformat()}/{self.threads}"
        known: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
        earlier = [roof for day, roof in known.items() if day.endswith(f"/{self.threads}")] + [*self.recorded]
        found = known.get(key)
        quiet, doubted = True, again
        for _ in range(ROOFLINE_ATTEMPTS):
            if found is not None and not again and roofline.is_plausible(found, earlier):
                break
            measured: dict[str, float] = self.process(0).ask("roofline", threads=self.threads)
            found, again = measured if found is None else roofline.merged(measured, found), False
            quiet = is_quiet(self)
        if found is None:
            raise RuntimeError("no roofline was measured")
        believed = quiet and not doubted and roofline.is_plausible(found, earlier)
        self.roof = found if believed else roofline.merged(found, *earlier)
        if quiet and self.roof != known.get(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**known, key: self.roof}, indent=1))
