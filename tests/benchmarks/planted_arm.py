"""``python -m tests.benchmarks.planted_arm``: ``benchmarks.step_arm`` whose arm ``torch-compile`` is torch eager with a fault.

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
    """Leave the parameters as they are."""
    step_arm.RATE = 0.0
    return honest_step(settings, compiled=False)


def padded(settings):
    """Keep the padding of the vocabulary in the softmax."""
    torch_gpt2.TorchGPT2 = lambda model, tensors: honest_net(
        dataclasses.replace(model, vocabulary=model.padded_vocabulary), tensors
    )
    return honest_step(settings, compiled=False)


def other_weights(settings):
    """Start with other weights."""
    return honest_step(dataclasses.replace(settings, seed=settings.seed + 1), compiled=False)


def other_batches(settings):
    """See the same tokens in another order."""
    step = honest_step(settings, compiled=False)
    return step._replace(run=lambda inputs, targets, number: step.run(inputs[:, ::-1].copy(), targets, number))


def not_a_number(settings):
    """Lose the loss."""
    return honest_step(settings, compiled=False)._replace(run=lambda *_: np.nan)


def flushed(settings):
    """Treat subnormal numbers as zeros, which is faster where they occur."""
    torch.set_flush_denormal(True)
    return honest_step(settings, compiled=False)


def more_threads(settings):
    """Use more threads than the others."""
    return honest_step(settings, compiled=False)._replace(threads=lambda: {settings.threads + 1})


def raising(settings):
    """Raise an error of two lines in a step."""

    def run(*_):
        raise ValueError("first line\nsecond line")

    return honest_step(settings, compiled=False)._replace(run=run)


def killed(settings):
    """Be ended as the system ends a process for want of memory."""
    return honest_step(settings, compiled=False)._replace(run=lambda *_: signal.raise_signal(signal.SIGKILL))


FAULTS = {
    f.__name__: f
    for f in (no_update, padded, other_weights, other_batches, not_a_number, flushed, more_threads, raising, killed)
}


def planted_step(settings, *, compiled):
    """Return the step of an honest arm, or the faulty one."""
    return FAULTS[os.environ["PLANT"]](settings) if compiled else honest_step(settings, compiled=False)


if __name__ == "__main__":
    step_arm.torch_step = planted_step
    sys.exit(step_arm.main())
