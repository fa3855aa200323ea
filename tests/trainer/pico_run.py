"""``python -m tests.trainer.pico_run``: ``trainer.run`` with a model so small that the references train it in a moment.

Each rank saves its parameters in ``--out``. ``PICO_FAULT`` names a fault that rank 1 gets after its first step.
"""

import functools
import os
import signal
import sys
from pathlib import Path

import numpy as np

from models import MODELS
from tests.trainer.tiny import PICO, break_call
from trainer import run, session
from trainer.data.dataset import open_data
from trainer.loop import fit
from trainer.ranks.interface import SINGLE_PROCESS
from trainer.sampling import sample
from trainer.state.background import BackgroundWriter

__all__ = ["faults", "main"]


def spoil_loss(program):
    """Make the next loss NaN."""
    program.parameters["fcb"][0, 5] = np.nan


def spoil_gradients(program):
    """Make the next gradients infinite."""
    break_call(program, "matmul_backward_bias/fc (layer 0)")


faults = {
    "loss": spoil_loss,
    "gradients": spoil_gradients,
    "death": lambda _: os._exit(3),
    "interrupt": lambda _: signal.raise_signal(signal.SIGINT),
}


def watched_fit(program, data, chosen, watcher, interrupt, among=SINGLE_PROCESS, **more):
    """Train with `fit`, plant the requested fault, and save the parameters."""
    original = watcher.stepped

    def stepped(update):
        original(update)
        fault = os.environ.get("PICO_FAULT")
        if fault and update.step == 1 and among.rank == 1:
            faults[fault](program)

    watcher.stepped = stepped
    history = fit(program, data, chosen, watcher, interrupt, among, **more)
    np.savez(chosen.out / f"rank{among.rank}.npz", steps=history.steps, **program.cpu_parameters())
    return history


def main(argv):
    """Train; return an exit code."""
    MODELS[PICO.name] = PICO
    cache = Path(next(word for word in argv if word.startswith("--results=")).partition("=")[2])
    session.open_data = functools.partial(open_data, cache=cache)
    session.sample = lambda logits, prompt, _, *rest, **more: sample(logits, prompt, 5, *rest, **more)
    session.fit = watched_fit
    BackgroundWriter.busy = False  # otherwise a slow disk leaves checkpoints out
    return run.main([f"--model={PICO.name}", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
