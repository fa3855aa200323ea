"""``python -m benchmarks.step_124m``: one whole training step of GPT-2 124M, raced against torch eager with fused AdamW.

``torch`` uses torch's fused attention and GELU, ``torch-padded`` also the padded vocabulary; ``torch-plain`` makes both step
by step, as llm.c's train_gpt2.py does.

Each contestant is a process of its own and sleeps while another one runs; rounds are interleaved in random order. Loaded
batch, forward, backward, clipping and update are timed; every contestant starts from the same weights and sees the same data.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from rich.console import Console

import models
from registry.cli import guarded
from registry.errors import DONE, CrucibleError
from registry.machine import thread_count
from registry.records import RESULTS
from registry.table import ROOT
from trainer.data import Loader, open_data
from trainer.initialise import initialise
from trainer.machine_facts import peak_rss_mib
from trainer.schedule import clip_scale
from trainer.session import build, prepare
from trainer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

CONTESTANTS = ("crucible", "torch", "torch-padded", "torch-plain")
TOLD, OUT = (Console(stderr=err, markup=False, highlight=False, soft_wrap=True) for err in (True, False))
RATE, CLIP, RESAMPLES = 3e-4, 1.0, 2000
PAUSE_SECONDS = 0.2  # until idle threads of the one before have stopped spinning


def main(argv: list[str] | None = None) -> int:
    """Race, or take part in the race; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_124m", description=__doc__)
    parser.add_argument("--kernels", default="best", help="as for trainer.run")
    parser.add_argument("--model", default="gpt2-124m", help="any model (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--sequence", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9, help="steps of each contestant (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=thread_count())
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="the folder of records")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    return guarded(lambda: (take_part if options.contestant else race)(options))


def crucible(settings: Settings) -> Callable[[np.ndarray, np.ndarray, int], float]:
    """Return a step of the program."""
    prepared = prepare(settings, TOLD.print)
    TOLD.print(f"kernels: {prepared.kernels.names()}")
    program = build(prepared).program

    def step(inputs: np.ndarray, targets: np.ndarray, number: int) -> float:
        program.load(inputs, targets)
        loss = program.micro_step(accumulate=False)
        norm = program.gradient_norm()
        program.apply(learning_rate=RATE, grad_scale=clip_scale(norm, CLIP), step=number)
        return loss

    return step


def torch_eager(settings: Settings, *, padded: bool, plain: bool) -> Callable[[np.ndarray, np.ndarray, int], float]:
    """Return torch's step."""
    import torch

    from benchmarks.torch_gpt2 import TorchGPT2

    torch.set_num_threads(settings.threads)
    tensors = {name: np.empty(shape, np.float32) for name, shape in settings.model.parameter_shapes.items()}
    initialise(settings.model, settings.seed, tensors)
    net = TorchGPT2(settings.model, tensors, padded=padded, plain=plain)
    optimiser = net.optimiser(RATE, fused=True)

    def step(inputs: np.ndarray, targets: np.ndarray, number: int) -> float:
        del number
        loss = net(torch.from_numpy(inputs).long(), torch.from_numpy(targets).long())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        return loss.item()

    return step


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def take_part(options: argparse.Namespace) -> int:
    """Answer each line on standard input with one timed step."""
    settings = Settings(
        model=models.find(options.model),
        kernels=options.kernels,
        batch=options.batch,
        sequence=options.sequence,
        threads=options.threads,
        results=options.results,
    )
    ours = options.contestant == "crucible"
    way = {"padded": options.contestant == "torch-padded", "plain": options.contestant == "torch-plain"}
    data = open_data(settings.data, batch=settings.B, sequence=settings.T)  # before a contestant takes its memory
    step = crucible(settings) if ours else torch_eager(settings, **way)
    loader = Loader(data.train, settings.B, settings.T)
    _answer({"ready": True})
    for number, _ in enumerate(sys.stdin, start=1):
        batch = loader.next_batch()
        start = time.perf_counter()
        loss = step(*batch, number)
        answer = {"ms": 1e3 * (time.perf_counter() - start), "loss": loss, "rss": peak_rss_mib()}
        _answer(answer)
    return DONE


class Contestant:
    """A child process that makes one step when asked."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        words = [f"--{key}={getattr(options, key)}" for key in ("kernels", "model", "batch", "sequence", "threads", "results")]
        command = [sys.executable, "-m", "benchmarks.step_124m", f"--contestant={name}", *words]
        self.name = name
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._in, self._out = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)

    def wait(self) -> None:
        """Wait until it is ready."""
        self._read()

    def _read(self) -> dict[str, Any]:
        line = self._out.readline()
        if not line:
            raise CrucibleError(f"contestant {self.name} ended with code {self._process.wait()}; its message stands above")
        return dict(json.loads(line))

    def step(self) -> dict[str, Any]:
        """Make one step and return its time, loss and peak memory."""
        time.sleep(PAUSE_SECONDS)
        self._in.write("\n")
        self._in.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._in.close()
        self._process.wait()


def race(options: argparse.Namespace) -> int:
    """Race all contestants and print the board."""
    contestants: list[Contestant] = []
    try:
        for name in CONTESTANTS:
            contestants.append(Contestant(name, options))
            contestants[-1].wait()
        losses, rounds = run_rounds(contestants, options.rounds)
    finally:
        for contestant in contestants:
            contestant.close()
    OUT.print(f"{options.model}, B={options.batch}, T={options.sequence}, {options.threads} threads, {options.rounds} rounds")
    for name in CONTESTANTS:
        times = [r[name]["ms"] for r in rounds]
        OUT.print(
            f"{name:>13}: median {statistics.median(times):.0f} ms ({min(times):.0f}-{max(times):.0f}), "
            f"peak RSS {rounds[-1][name]['rss']:.0f} MiB, losses {losses[name]:.4f} ... {rounds[-1][name]['loss']:.4f}"
        )
    for name in CONTESTANTS[1:]:
        ratios = [r[name]["ms"] / r["crucible"]["ms"] for r in rounds]
        low, high = interval(ratios)
        memory = rounds[-1]["crucible"]["rss"] / rounds[-1][name]["rss"]
        OUT.print(
            f"{name} over crucible: time {statistics.median(ratios):.3f} ({low:.3f}-{high:.3f}); crucible's memory {memory:.3f}"
        )
    return DONE


def run_rounds(contestants: list[Contestant], count: int) -> tuple[dict[str, float], list[dict[str, dict[str, Any]]]]:
    """Return each contestant's first loss, and its answers round by round."""
    order = random.Random(0)
    losses = {c.name: c.step()["loss"] for c in contestants}
    for contestant in contestants:  # the first two steps compile and touch every page
        contestant.step()
    rounds = []
    for number in range(count):
        order.shuffle(contestants)
        rounds.append({c.name: c.step() for c in contestants})
        shown = ", ".join(f"{name} {rounds[-1][name]['ms']:.0f} ms" for name in CONTESTANTS)
        TOLD.print(f"round {number + 1}: {shown}")
    return losses, rounds


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    draw = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(draw, axis=1), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
