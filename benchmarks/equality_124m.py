"""``python -m benchmarks.equality_124m``: train GPT-2 124M beside torch, step by step, with the same weights and data.

The exit code is 1 if the relative difference of a loss exceeds 1e-4, or a gradient of the first step exceeds its tolerance.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from rich.console import Console

import models
from benchmarks.torch_gpt2 import TorchGPT2, gradient_tolerance, gradients
from registry.cli import add_results, guarded
from registry.errors import DONE, FAILED
from trainer import session
from trainer.data.loader import Loader
from trainer.schedule import clip_scale
from trainer.settings import Settings

__all__ = ["main"]

TOLERANCE = 1e-4
OUT = Console(markup=False, highlight=False, soft_wrap=True)
DRAWS = 2  # each draw is a pass of the whole model in float64


def main(argv: list[str] | None = None) -> int:
    """Compare; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equality_124m", description=__doc__)
    parser.add_argument("--kernels", default="best", help="as for trainer.run")
    parser.add_argument("--model", default="gpt2-124m", help="any model (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="updates (default: %(default)s)")
    add_results(parser)
    options = parser.parse_args(argv)

    def body() -> int:
        model = models.find(options.model)
        return compare(Settings(model=model, kernels=options.kernels, steps=options.steps, results=options.results))

    return guarded(body)


def compare(settings: Settings) -> int:
    """Train both models, print each step, and return an exit code."""
    selection = session.select(settings, Console(stderr=True).print)
    kernels, data = session.prepare(selection)
    OUT.print(kernels.names())
    program, _ = session.build(selection, kernels, data)
    loader = Loader(data.train, settings.B, settings.T)
    net = TorchGPT2(settings.model, program.parameters)
    optimiser, rate = net.optimiser(settings.schedule.peak, fused=True), settings.schedule.peak
    worst, failed = 0.0, False
    for step in range(1, settings.updates + 1):
        inputs, targets = loader.next_batch()
        program.load(inputs, targets)
        loss = program.micro_step(accumulate=False)
        if step == 1:
            failed = not within_law(settings, program.parameters, (inputs, targets), program.gradients)
        norm = program.gradient_norm()
        program.apply(learning_rate=rate, grad_scale=clip_scale(norm, settings.clip), step=step)

        expected = net(torch.tensor(inputs).long(), torch.tensor(targets).long())
        optimiser.zero_grad()
        expected.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), settings.clip)
        optimiser.step()
        difference = abs(loss / expected.item() - 1)
        worst = max(worst, difference)
        OUT.print(f"step {step}: loss {loss:.6f}, torch {expected.item():.6f}, relative difference {difference:.1e}")
    OUT.print(f"largest relative difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    return FAILED if failed or not worst <= TOLERANCE else DONE


def within_law(
    settings: Settings,
    parameters: dict[str, np.ndarray],
    batch: tuple[np.ndarray, np.ndarray],
    computed: dict[str, np.ndarray],
) -> bool:
    """Print the worst error of each gradient as a share of its tolerance; return whether all shares are at most 1."""
    exact = gradients(settings.model, {n: t.astype(np.float64) for n, t in parameters.items()}, batch)
    allowed = gradient_tolerance(settings.model, parameters, batch, exact, DRAWS)
    worst = {n: float((np.abs(computed[n] - exact[n]) / (allowed[n] + np.finfo(np.float64).tiny)).max()) for n in exact}
    OUT.print(
        "errors of the first gradients, as shares of their tolerances: " + ", ".join(f"{n} {w:.3f}" for n, w in worst.items())
    )
    return all(w <= 1 for w in worst.values())


if __name__ == "__main__":
    sys.exit(main())
