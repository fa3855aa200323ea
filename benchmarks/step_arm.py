"""``python -m benchmarks.step_arm``: the process of one arm of ``python -m benchmarks.step``.

The process runs a step for each request of the benchmark (`harness.child`). Between the steps all its threads sleep. It prints
messages; an error is the last line.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import models
from benchmarks.arms import ARMS
from benchmarks.mkl_avx512 import LIBRARY
from harness.child import Server
from harness.race.clock import settle
from registry.cli import add_results
from registry.errors import DONE, CrucibleError
from registry.output import guarded
from trainer import session
from trainer.data.dataset import open_data
from trainer.data.loader import Loader
from trainer.program.initialise import initialise
from trainer.report.machine_facts import peak_rss_mib
from trainer.schedule import clip_scale
from trainer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trainer.data.dataset import Dataset
    from trainer.program.program import Program
    from trainer.selection.selection import Kernels

__all__ = ["Step", "add_options", "hide_library", "main", "settings_of", "words"]

RATE, CLIP = 3e-4, 1.0
SHARED = ("model", "batch", "sequence", "threads", "kernels", "results")
LONGEST_MESSAGE = 400
SETTLE_S = 5.0  # OpenMP's threads spin for some milliseconds after their work
SMALLEST = np.full(1, np.finfo(np.float32).smallest_normal)


class Step(NamedTuple):
    """The training step of an arm: forward, backward, clipping and update.

    Attributes
    ----------
    run : callable
        Takes inputs, targets and the number of the step, from 1 up; returns the loss.
    threads : callable
        Returns the numbers of threads of the thread pools in use.
    dtype : str
        The dtype of the parameters.
    kernels : dict of str to str
        The chosen variants, as `Kernels.names` returns them; empty for torch.
    """

    run: Callable[[NDArray[np.int32], NDArray[np.int32], int], float]
    threads: Callable[[], set[int]]
    dtype: str
    kernels: dict[str, str]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that the benchmark passes to the process of each arm."""
    default = Settings()
    parser.add_argument("--model", default="gpt2-124m", help="any model (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="rows of a step (default: %(default)s)")
    parser.add_argument("--sequence", type=int, default=64, help="tokens of a row (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=default.threads, help="threads of every arm (default: %(default)s)")
    parser.add_argument(
        "--kernels", default=default.kernels, help="Crucible's kernels, as for trainer.run (default: %(default)s)"
    )
    add_results(parser)


def words(options: argparse.Namespace) -> list[str]:
    """Return the options as the command line of an arm's process."""
    return [f"--{name}={getattr(options, name)}" for name in SHARED]


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the options as settings of the trainer. The settings check them.

    Raises
    ------
    RequestError
        The model is unknown, or a size is impossible.
    """
    return Settings(
        model=models.find(options.model),
        kernels=options.kernels,
        batch=options.batch,
        sequence=options.sequence,
        threads=options.threads,
        results=options.results,
        out=Path(tempfile.gettempdir()),
    )


def tokens(settings: Settings) -> Dataset:
    """Return the data of all arms."""
    return open_data(settings.data, batch=settings.B, sequence=settings.T)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201 (the benchmark reads it)


def use_caches(folder: Path) -> None:
    """Have numba keep its machine code in a folder; the kernels must not have been imported yet."""
    import numba

    importlib.import_module("kernels.simd")  # sets the project's folder, which numba reads whenever a function is decorated
    numba.config.CACHE_DIR = str(folder)


def crucible_run(settings: Settings, caches: Path | None) -> tuple[Program, Kernels]:
    """Return a program and its kernels. Missing champions are proven and raced first.

    Parameters
    ----------
    caches : Path, optional
        A folder for numba's cache. Default: the project's folder.
    """
    if caches:
        use_caches(caches)
    selection = session.select(settings, _say)
    return session.build(selection, *session.prepare(selection))


def crucible_step(settings: Settings, caches: Path | None) -> Step:
    """Return Crucible's step. Its program has timed its kernel sets and kept the faster one, as in every training run."""
    import numba
    from threadpoolctl import threadpool_info

    program, kernels = crucible_run(settings, caches)

    def run(inputs: NDArray[np.int32], targets: NDArray[np.int32], number: int) -> float:
        program.load(inputs, targets)
        loss = program.micro_step(accumulate=False)
        norm = program.gradient_norm()
        program.apply(learning_rate=RATE, grad_scale=clip_scale(norm, CLIP), step=number)
        return loss

    def threads() -> set[int]:
        return {numba.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())}

    return Step(run, threads, str(program.parameters["wte"].dtype), kernels.names())


def torch_step(settings: Settings, *, compiled: bool) -> Step:
    """Return torch's step, with the initial weights of Crucible's program."""
    import torch

    from benchmarks.torch_gpt2 import TorchGPT2

    torch.set_num_threads(settings.threads)
    tensors = {name: np.empty(shape, np.float32) for name, shape in settings.model.parameter_shapes.items()}
    initialise(settings.model, settings.seed, tensors)
    net = TorchGPT2(settings.model, tensors)
    optimiser = net.optimiser(RATE, fused=True)
    loss_of = torch.compile(net) if compiled else net

    def run(inputs: NDArray[np.int32], targets: NDArray[np.int32], number: int) -> float:
        del number  # torch's optimiser counts its own steps
        loss = loss_of(torch.from_numpy(inputs).long(), torch.from_numpy(targets).long())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        return float(loss.item())

    return Step(run, lambda: {torch.get_num_threads()}, str(net.wte.dtype).removeprefix("torch."), {})


def make_step(name: str, settings: Settings, caches: Path | None) -> Step:
    """Return the step of the arm called `name`."""
    arm = ARMS[name]
    return torch_step(settings, compiled=arm.compiled) if arm.torch else crucible_step(settings, caches)


def _rest() -> None:
    """Wait until all threads of this process sleep.

    Raises
    ------
    CrucibleError
        A thread still runs after `SETTLE_S` seconds.
    """
    if settle(SETTLE_S) > SETTLE_S:
        raise CrucibleError(f"its threads still use a core {SETTLE_S:.0f} s after their work")


def hide_library() -> None:
    """Remove the preloaded library from the environment of child processes, such as the C++ compiler."""
    others = [p for p in os.environ.get("LD_PRELOAD", "").split(os.pathsep) if p and Path(p).name != LIBRARY]
    os.environ.pop("LD_PRELOAD", None)
    if others:
        os.environ["LD_PRELOAD"] = os.pathsep.join(others)


def serve(server: Server, options: argparse.Namespace) -> int:
    """Run a step for each request, and return its time, its loss and its conditions to the benchmark."""
    hide_library()
    settings = settings_of(options)
    if options.prepare_only:
        crucible_run(settings, options.caches)
        return DONE
    loader = Loader(tokens(settings).train, settings.B, settings.T)
    step = make_step(options.arm, settings, options.caches)

    def timed_step(number: int) -> dict[str, Any]:
        batch = loader.next_batch()
        start = time.perf_counter()
        loss = step.run(*batch, number)
        seconds = time.perf_counter() - start
        conditions = {
            "threads": sorted(step.threads()),
            "dtype": step.dtype,
            "flushes_subnormals": not (SMALLEST * np.float32(0.5))[0],
        }
        _rest()
        return {"ms": 1e3 * seconds, "loss": loss, "peak_rss": peak_rss_mib(), "conditions": conditions}

    _rest()
    server.serve(kernels=lambda: step.kernels, step=timed_step)
    return DONE


def main(argv: list[str] | None = None) -> int:
    """Run one arm of the benchmark; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_arm", description=__doc__)
    parser.add_argument("--arm", choices=ARMS, required=True)
    parser.add_argument("--caches", type=Path, metavar="DIR", help="keep compiled kernels there")
    parser.add_argument("--prepare-only", action="store_true", help="prove and race Crucible's kernels, and stop")
    add_options(parser)
    options = parser.parse_args(argv)
    server = Server()

    def body() -> int:
        try:
            return serve(server, options)
        except CrucibleError:
            raise
        except Exception as error:  # libraries may raise anything; the message becomes one line
            message = " ".join(f"{type(error).__name__}: {error}".split())
            raise CrucibleError(message[:LONGEST_MESSAGE]) from error

    return guarded(body)


if __name__ == "__main__":
    sys.exit(main())
