"""``python -m benchmarks.step``: time one whole training step of a GPT-2 in Crucible and in torch's fastest settings.

A step is forward, backward, clipping and AdamW on a new batch, in float32. The benchmark has these arms:

- ``crucible``: the program of ``trainer.run``, with the champions of this machine (``--kernels``);
- ``torch``: torch eager, with its fused attention, its tanh GELU and its fused AdamW;
- ``torch-compile``: the same model compiled by ``torch.compile`` with its default options;
- ``torch-avx512``, ``torch-compile-avx512``: these two with MKL's AVX-512 code. By itself MKL uses this code on processors of
  Intel only. The benchmark compiles a small library and preloads it into the process of the arm; the library replaces MKL's
  test for the maker of the processor. If that is impossible or changes nothing, the arm is left out and the reason is printed.

Fairness:

- Every arm is a separate process. In each round every arm makes one step, in random order. The turn of an arm ends when all its
  threads sleep, so that no thread pool spins while another arm runs.
- All arms have the same initial weights, batches, learning rate and number of threads, keep their parameters in float32 and do
  not flush subnormal numbers. The processes report threads, dtype and subnormals, and a difference is an error.
- The benchmark compares the losses of all arms at every step. A difference beyond rounding is an error; no ratio is printed.
- Two steps of each arm come before the first round and are not counted: they compile and touch memory for the first time.
- torch's token embedding has the 50,257 rows in use. Crucible's embedding has 50,304 rows, a multiple of 128, and the softmax
  leaves the padding out. A padded embedding did not make torch faster (docs/measures.md), and would change torch's loss.
- Peak memory is the memory of the arm's process. A compiler in the process adds to it, so read the ratio of the memory from a
  run in which nothing was compiled (a second run, or ``--first-step``).

``--first-step`` also measures the seconds to the first finished step with empty compiler caches in temporary folders; the
rounds then run with these caches, which are full by then. The document of ``--json`` is appended to ``steps.jsonl`` in the
machine's folder of records unless ``--no-store`` is given. Times are in milliseconds, memory is in MiB.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from benchmarks.arm_process import ArmProcess
from benchmarks.arms import ARMS, CRUCIBLE, choose_arms, environment_of, left_out
from benchmarks.step_arm import add_options, settings_of, tokens, words
from benchmarks.step_record import FILE, ArmTimes, StepRun, check_conditions, check_losses, ratios_of
from registry.cli import add_keep, wide_console
from registry.command_parser import CommandParser
from registry.errors import RequestError
from registry.listing import Column, Listing
from registry.output import Output, execute
from registry.records import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import TaskID

    from benchmarks.arms import Arm
    from benchmarks.step_record import Ratio

__all__ = ["main", "parser"]

WARM_UPS = 2
LONGEST_LINE = 80


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(
        prog="python -m benchmarks.step", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", default=",".join(ARMS), metavar="A,B", help="which arms (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="counted steps of each arm (default: %(default)s)")
    parser.add_argument("--first-step", action="store_true", help="also measure the first step with empty compiler caches")
    parser.add_argument("--no-store", action="store_true", help="keep no record")
    add_keep(parser)
    add_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return an exit code."""
    return execute(parser(), command, argv)


def command(options: argparse.Namespace) -> Output:
    """Check the request, run the benchmark and store the result."""
    if options.rounds < 1:
        raise RequestError(f"--rounds {options.rounds}: give a whole number from 1 up")
    options.results = options.results.resolve()
    chosen = choose_arms(options.arms)
    tokens(settings_of(options))  # refuses an impossible request before any process starts
    errors = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    columns = BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} steps  {task.description}", markup=False)
    with (
        tempfile.TemporaryDirectory(prefix="crucible-step-") as folder,
        Progress(*columns, console=errors, transient=True) as bar,
    ):
        run = Benchmark(options, Path(folder), bar).run(chosen)
    if not options.no_store:
        Store(options.results, keep=options.keep).add(FILE, run)
    return Output(run.to_json(), lambda: show(run))


class Benchmark:
    """One run of the benchmark.

    Parameters
    ----------
    folder : Path
        An empty folder for the preloaded library and for the compiler caches of ``--first-step``.
    bar : Progress
        The progress bar.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, bar: Progress) -> None:
        self.options, self.folder, self.bar = options, folder, bar
        self.task: TaskID

    def run(self, chosen: Sequence[Arm]) -> StepRun:
        """Measure the arms that can run on this machine and return the result."""
        options = self.options
        steps = len(chosen) * (WARM_UPS + options.rounds + options.first_step)
        self.task = self.bar.add_task("checking the arms", total=steps)
        missing = left_out(chosen, self.folder)
        for name, reason in missing.items():
            self.bar.console.print(f"arm {name} is left out: {reason}")
        arms = [arm for arm in chosen if arm.name not in missing]
        if not arms:
            raise RequestError("none of the chosen arms can run on this machine")
        self.bar.update(self.task, total=steps - len(missing) * (WARM_UPS + options.rounds + options.first_step))
        if CRUCIBLE in {arm.name for arm in arms}:
            self._prepare()
        cold = {arm.name: self._cold_seconds(arm) for arm in arms} if options.first_step else {}
        kernels: dict[str, str] = {}
        with ExitStack() as stack:
            processes = []
            for arm in arms:
                processes.append(stack.enter_context(self._start(arm, own_caches=options.first_step)))
                kernels |= processes[-1].wait_ready()
            self._rounds(processes)
        times = [
            ArmTimes.of(
                process.arm,
                process.ms,
                process.losses,
                process.peak_rss,
                {"cold": cold[process.arm], "warm": process.first_step_s}
                if options.first_step
                else {"found": process.first_step_s},
            )
            for process in processes
        ]
        return StepRun(
            model=options.model,
            batch=options.batch,
            sequence=options.sequence,
            threads=options.threads,
            rounds=options.rounds,
            caches="warm" if options.first_step else "found",
            kernels=kernels,
            arms=times,
            ratios=ratios_of(times),
            left_out=missing,
        )

    def _start(self, arm: Arm, *more: str, own_caches: bool) -> ArmProcess:
        self._describe(arm.name, "starting")
        caches = self.folder / arm.name if own_caches else None
        more += (f"--caches={caches}",) if caches else ()
        environment = environment_of(arm, self.folder, caches)
        return ArmProcess(arm.name, [*words(self.options), *more], environment, lambda line: self._describe(arm.name, line))

    def _describe(self, arm: str, what: str) -> None:
        self.bar.update(self.task, description=f"{arm}: {what[:LONGEST_LINE]}")

    def _prepare(self) -> None:
        """Prove and race the kernels without a champion on this machine, in a process that is not timed."""
        with self._start(ARMS[CRUCIBLE], "--prepare-only", own_caches=False) as process:
            process.wait_ended()

    def _cold_seconds(self, arm: Arm) -> float:
        """Return the seconds to the first finished step with empty compiler caches. The step fills the caches."""
        with self._start(arm, own_caches=True) as process:
            process.wait_ready()
            process.step()
            self.bar.advance(self.task)
            return process.first_step_s

    def _rounds(self, processes: list[ArmProcess]) -> list[float]:
        """Request steps from the processes in turn and compare their losses; return the seconds to the first step of each."""
        order, turn = random.Random(0), list(processes)
        expected = {"threads": [self.options.threads], "dtype": "float32", "flushes_subnormals": False}
        for number in range(1, WARM_UPS + self.options.rounds + 1):
            counted = number > WARM_UPS
            order.shuffle(turn)
            for process in turn:
                self._describe(process.arm, f"step {number}")
                process.step(counted=counted)
                self.bar.advance(self.task)
            check_conditions(expected, {process.arm: process.conditions for process in processes})
            check_losses(number, {process.arm: process.losses[-1] for process in processes})
            if counted:
                times = ", ".join(f"{process.arm} {process.ms[-1]:.0f} ms" for process in processes)
                self.bar.console.print(f"round {number - WARM_UPS} of {self.options.rounds}: {times}")


def show(run: StepRun) -> None:
    """Print the result as tables."""
    sizes = f"{run.model}, B={run.batch}, T={run.sequence}, {run.dtype}, threads={run.threads}, rounds={run.rounds}"
    keys = ("found",) if run.caches == "found" else ("cold", "warm")
    firsts = [f"first step{'' if key == 'found' else f', {key}'}, s" for key in keys]
    times = _table(f"{sizes}\n{run.machine}", "median ms", "lower quartile", "range", "over Crucible's", "of quartiles")
    rest = _table("", "peak RSS, MiB", "Crucible's over it", *firsts)
    compared = {ratio.arm: ratio for ratio in run.ratios}
    for arm in run.arms:
        ratio, quartiles, memory = _cells(compared.get(arm.arm))
        spread = f"{min(arm.ms):.1f} to {max(arm.ms):.1f}"
        times.add(arm.arm, f"{arm.median:.1f}", f"{arm.lower_quartile:.1f}", spread, ratio, quartiles)
        rest.add(arm.arm, f"{arm.peak_rss:.0f}", memory, *(f"{arm.first_step[key]:.1f}" for key in keys))
    console = wide_console()
    console.print(times, rest)
    if strongest := run.strongest:
        ratio, *_ = _cells(strongest)
        line = f"strongest arm of torch: {strongest.arm}, whose step takes {ratio} times as long as Crucible's"
        console.print(line, highlight=False, soft_wrap=True)


def _table(title: str, *heads: str) -> Listing:
    """Return a table of arms, without rows."""
    return Listing(Column("arm", key=True), *(Column(head, justify="right") for head in heads), title=title)


def _cells(ratio: Ratio | None) -> tuple[str, str, str]:
    """Return the cells of a table: the ratio of times with its interval, of lower quartiles, and of memory."""
    if ratio is None:
        return "", "", ""
    low, high = ratio.interval
    return f"{ratio.time:.2f} ({low:.2f} to {high:.2f})", f"{ratio.lower_quartile:.2f}", f"{ratio.memory:.2f}"


if __name__ == "__main__":
    sys.exit(main())
