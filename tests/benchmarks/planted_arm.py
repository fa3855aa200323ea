"""``python -m tests.benchmarks.planted_arm``: ``benchmarks.step_arm`` with a faulty torch eager as the arm ``torch-compile``.

The environment variable ``PLANT`` names the fault.
"""

import dataclasses
import os
import signal
import sys

import numpy as np
import torch

from benchmarks import step_arm, torch_gpt2

__all__ = ["FAULTS"]

honest_step, honest_net = step_arm.torch_step, torch_gpt2.TorchGPT2


def no_update(settings):
    """Never change the parameters."""
    step_arm.RATE = 0.0
    return honest_step(settings, compiled=False)


def padded(settings):
    """Include the padding of the vocabulary in the softmax."""
    torch_gpt2.TorchGPT2 = lambda model, tensors: honest_net(
        dataclasses.replace(model, vocabulary=model.padded_vocabulary), tensors
    )
    return honest_step(settings, compiled=False)


def other_weights(settings):
    """Start with other weights."""
    return honest_step(dataclasses.replace(settings, seed=settings.seed + 1), compiled=False)


def other_batches(settings):
    """Train on the same tokens in another order."""
    step = honest_step(settings, compiled=False)
    return step._replace(run=lambda inputs, targets, number: step.run(inputs[:, ::-1].copy(), targets, number))


def not_a_number(settings):
    """Return NaN as the loss."""
    return honest_step(settings, compiled=False)._replace(run=lambda *_: np.nan)


def flushed(settings):
    """Flush subnormal numbers to zero, which saves time."""
    torch.set_flush_denormal(True)
    return honest_step(settings, compiled=False)


def more_threads(settings):
    """Report more threads than the other arms."""
    return honest_step(settings, compiled=False)._replace(threads=lambda: {settings.threads + 1})


def raising(settings):
    """Raise an error with a message of two lines in a step."""

    def run(*_):
        raise ValueError("first line\nsecond line")

    return honest_step(settings, compiled=False)._replace(run=run)


def killed(settings):
    """End the process by SIGKILL, as the system does when memory runs out."""
    return honest_step(settings, compiled=False)._replace(run=lambda *_: signal.raise_signal(signal.SIGKILL))


FAULTS = {
    f.__name__: f
    for f in (no_update, padded, other_weights, other_batches, not_a_number, flushed, more_threads, raising, killed)
}


def planted_step(settings, *, compiled):
    """Return the faulty step for a compiled arm, and torch's step for the others."""
    return FAULTS[os.environ["PLANT"]](settings) if compiled else honest_step(settings, compiled=False)


if __name__ == "__main__":
    step_arm.torch_step = planted_step
    sys.exit(step_arm.main())
