"""``python -m benchmarks.equality_124m``: train GPT-2 124M beside torch, step by step, with the same weights and data.

The exit code is 1 if the relative difference of a loss exceeds 1e-4, or a gradient of the first step exceeds its tolerance.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console

import models
from benchmarks.torch_gpt2 import TorchGPT2, gradient_tolerance, gradients
from registry.cli import add_results
from registry.command_parser import CommandParser
from registry.errors import DONE, FAILED
from registry.output import Output, execute
from trainer import session
from trainer.data.loader import Loader
from trainer.schedule import clip_scale
from trainer.settings import Settings

if TYPE_CHECKING:
    import argparse

    from registry.documents import training as documents

__all__ = ["main", "parser"]

TOLERANCE = 1e-4
OUT = Console(markup=False, highlight=False, soft_wrap=True)
DRAWS = 2  # each draw is a pass of the whole model in float64


def parser() -> CommandParser:
    """Return the command line."""
    parser = CommandParser(prog="python -m benchmarks.equality_124m", description=__doc__)
    parser.add_argument("--kernels", default="best", help="as for trainer.run")
    parser.add_argument("--model", default="gpt2-124m", help="any model (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="updates (default: %(default)s)")
    add_results(parser)
    return parser


def run(options: argparse.Namespace) -> Output:
    """Compare the two models that the options describe."""
    model = models.find(options.model)
    return compare(Settings(model=model, kernels=options.kernels, steps=options.steps, results=options.results))


def main(argv: list[str] | None = None) -> int:
    """Compare; return an exit code."""
    return execute(parser(), run, argv)


def compare(settings: Settings) -> Output:
    """Train both models and print each step; return the differences."""
    selection = session.select(settings, Console(stderr=True).print)
    kernels, data = session.prepare(selection)
    OUT.print(kernels.names())
    program, _ = session.build(selection, kernels, data)
    loader = Loader(data.train, settings.B, settings.T)
    net = TorchGPT2(settings.model, program.parameters)
    optimiser, rate = net.optimiser(settings.schedule.peak, fused=True), settings.schedule.peak
    worst, shares, losses, torch_losses = 0.0, {}, [], []
    for step in range(1, settings.updates + 1):
        inputs, targets = loader.next_batch()
        program.load(inputs, targets)
        loss = program.micro_step(accumulate=False)
        if step == 1:
            shares = shares_of_tolerance(settings, program.parameters, (inputs, targets), program.gradients)
        norm = program.gradient_norm()
        program.apply(learning_rate=rate, grad_scale=clip_scale(norm, settings.clip), step=step)

        expected = net(torch.tensor(inputs).long(), torch.tensor(targets).long())
        optimiser.zero_grad()
        expected.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), settings.clip)
        optimiser.step()
        losses.append(loss)
        torch_losses.append(expected.item())
        difference = abs(loss / expected.item() - 1)
        worst = max(worst, difference)
        OUT.print(f"step {step}: loss {loss:.6f}, torch {expected.item():.6f}, relative difference {difference:.1e}")
    OUT.print(f"largest relative difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    document: documents.Equality = {
        "kernels": kernels.names(),
        "losses": losses,
        "torch_losses": torch_losses,
        "worst": worst,
        "tolerance": TOLERANCE,
        "gradients": shares,
    }
    equal = worst <= TOLERANCE and all(share <= 1 for share in shares.values())
    return Output(document, code=DONE if equal else FAILED)


def shares_of_tolerance(
    settings: Settings,
    parameters: dict[str, np.ndarray],
    batch: tuple[np.ndarray, np.ndarray],
    computed: dict[str, np.ndarray],
) -> dict[str, float]:
    """Print and return the worst error of each gradient as a share of its tolerance."""
    exact = gradients(settings.model, {n: t.astype(np.float64) for n, t in parameters.items()}, batch)
    allowed = gradient_tolerance(settings.model, parameters, batch, exact, DRAWS)
    worst = {n: float((np.abs(computed[n] - exact[n]) / (allowed[n] + np.finfo(np.float64).tiny)).max()) for n in exact}
    OUT.print(
        "errors of the first gradients, as shares of their tolerances: " + ", ".join(f"{n} {w:.3f}" for n, w in worst.items())
    )
    return worst


if __name__ == "__main__":
    sys.exit(main())
