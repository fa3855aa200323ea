"""``python -m tests.harness.owner_program KIND``: start one process of a kind, print its process ids, and wait.

All the processes are stopped, so that none can notice by itself that its owner has ended.
"""

import os
import signal
import sys
import time

import psutil

from benchmarks.arm_process import ArmProcess
from harness.proof.cases.values import materialise
from harness.proof.reference.process import ReferenceProcess
from harness.proof.sandbox.client import Worker
from harness.race.contestant_process import ContestantProcess
from registry.enums import Device
from registry.problem import Problem
from registry.table import discover

LAYER_NORM = discover().op("layer_norm")
PROBLEM = Problem("layer_norm", {"N": 2, "C": 3}, {"eps": 1e-5})


def prover():
    """Start a worker, and the process of a variant."""
    worker = Worker()
    worker.begin(discover().variant("layer_norm", "numpy"), Device.CPU)
    return worker


def contestant():
    """Start a contestant."""
    process = ContestantProcess()
    process.ask("load", op="layer_norm", kind="variant", variant="numpy", threads=1)
    return process


def reference():
    """Start a process that computes reference outputs."""
    process = ReferenceProcess()
    process.compute_reference(LAYER_NORM, PROBLEM, materialise(LAYER_NORM, PROBLEM))
    return process


def arm():
    """Start the process of torch eager."""
    process = ArmProcess("torch", ["--model=gpt2-nano", "--batch=1", "--sequence=8", "--threads=1"], {})
    process.wait_ready()
    return process


kept = {"prover": prover, "contestant": contestant, "reference": reference, "arm": arm}[sys.argv[1]]()
started = psutil.Process().children(recursive=True)
for process in started:
    os.kill(process.pid, signal.SIGSTOP)
sys.stdout.write(f"{' '.join(str(process.pid) for process in started)}\n")
sys.stdout.flush()
time.sleep(1e6)
