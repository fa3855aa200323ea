"""``python -m tests.gpu.pico_run_on_gpu``: ``tests.trainer.pico_run`` with a stand-in for CuPy, and gloo instead of NCCL.

The stand-in's arrays are in CPU memory, so torch reads them through the same protocol (DLPack) as CPU tensors. Every call of
``torch.cuda`` is written as a line to standard error.
"""

import sys
from contextlib import nullcontext

import torch
from torch import distributed

from tests.gpu import fake_cupy
from tests.trainer import pico_run

__all__ = ["main"]


def say(*words):
    """Write a line for the test to read."""
    print("call:", *words, file=sys.stderr)  # noqa: T201 (the test reads it)


def main(argv):
    """Train; return an exit code."""
    sys.modules["cupy"] = fake_cupy
    fake_cupy.DEVICES = 2
    new_group = distributed.new_group

    def group(*, backend, timeout):
        say("group of", backend, "on GPU", fake_cupy.cuda.Device().id)
        return new_group(backend="gloo", timeout=timeout)

    def stream(pointer):
        ours = pointer == fake_cupy.cuda.get_current_stream().ptr != 0
        say("stream of the other work:", ours)
        return nullcontext()

    distributed.new_group, distributed.is_nccl_available = group, lambda: True
    torch.cuda.set_device = lambda number: say("torch on GPU", number)
    torch.cuda.ExternalStream, torch.cuda.stream = lambda pointer: pointer, stream
    return pico_run.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
