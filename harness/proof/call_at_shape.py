"""Calls one variant once at the shape of a training run, in the worker process, and makes the record of the comparison."""

from __future__ import annotations

import math
import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.proof.at_shape import TooLargeError, compare
from harness.proof.cases.training_values import training_values
from harness.proof.gates import Case, Rejected, check_call
from harness.proof.reference.cache import ReferenceCache, SolvedProblem
from harness.proof.sandbox.client import Limits
from registry.commands import Folders, pasted
from registry.comparison import Comparison
from registry.enums import Device, Status
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.op import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from harness.proof.sandbox.client import Worker
    from registry.problem import Problem
    from registry.variant import Variant

__all__ = ["CallAtShape", "Called", "limits_for"]

SLOWEST_FLOPS = {Device.CPU: 1e8, Device.CUDA: 1e8, Device.SIM: 1e6}  # per second; a slower variant counts as hung
SLOWEST_ELEMENTS = 1e7  # per second


@dataclass(frozen=True, eq=False)
class Called:
    """The result of a call.

    Attributes
    ----------
    values : mapping
        The inputs.
    outputs : mapping or None
        The outputs; None if the call was rejected.
    rejected : Rejected, MemoryError or None
        The reason for which the call has no outputs.
    seconds : float
        The duration of the call, with the making of the values.
    """

    values: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]] | None
    rejected: Rejected | MemoryError | None
    seconds: float


@dataclass(frozen=True)
class CallAtShape:
    """One call of one variant at the shape of a training run."""

    variant: Variant
    problem: Problem
    threads: int
    device: Device = Device.CPU
    kernels_path: Sequence[Path] = ()

    @property
    def elements(self) -> int:
        """The number of elements of all arguments."""
        return sum(math.prod(a.shape(self.problem.dims)) for a in self.variant.op.arguments)

    @property
    def reproduce(self) -> str:
        """The command that repeats the comparison."""
        words = ["--op", self.problem.op, "--variant", self.variant.name, *Folders(tuple(self.kernels_path)).words()]
        words += ["--device", self.device] if self.device != Device.CPU else []
        return pasted("harness.check_shapes", *words, "--threads", str(self.threads), "--problem", str(self.problem))

    def call(self, worker: Worker) -> Called:
        """Call the variant; a failure of the variant is part of the result and never raised."""
        began = time.monotonic()
        worker.limits = limits_for(self)
        values: dict[str, NDArray[Any]] = {}
        outputs, rejected = None, None
        try:
            op, unused = self.variant.op, ReferenceCache(())  # `compare` computes the reference, part by part
            values = training_values(op, self.problem)
            solved = SolvedProblem(op, self.problem, values, Future())
            outputs = check_call(Case(self.variant, solved, unused, worker, self.threads, self.device))
        except (Rejected, MemoryError) as error:
            rejected = error
        return Called(values, outputs, rejected, time.monotonic() - began)

    def compare(self, called: Called) -> Comparison:
        """Compare the outputs of a call with the reference, and return the record."""
        began = time.monotonic()
        status, gate, message, outcome = Status.PASSED, "", "", None
        try:
            if called.rejected is not None:
                raise called.rejected
            outcome = compare(self.variant.op, self.problem, called.values, called.outputs or {})
            if outcome.message:
                backward = self.variant.op.direction is Direction.BACKWARD
                status, gate, message = Status.FAILED, "gradients" if backward else "values", outcome.message
        except Rejected as rejected:
            status, gate, message = rejected.status, rejected.gate, rejected.message
        except (TooLargeError, MemoryError) as error:
            status, message = Status.NOT_COMPARED, str(error) or "there is not enough memory"
        op = self.variant.op
        return Comparison(
            op=op.name,
            variant=self.variant.name,
            source=source_hash(self.variant),
            contract=contract_hash(op),
            dims=dict(self.problem.dims),
            params=dict(self.problem.params),
            status=status,
            gate=gate,
            message=message,
            dtype=self.problem.dtype,
            device=self.device,
            threads=self.threads,
            compared=str(outcome or ""),
            worst_over_tolerance=min(outcome.ratio, sys.float_info.max) if outcome else 0.0,
            seconds=round(called.seconds + time.monotonic() - began, 3),
            reproduce=self.reproduce,
            machine=machine_key(self.device),
            versions=versions(self.device),
        )


def limits_for(call: CallAtShape) -> Limits:
    """Return the limits of time and memory for a call, which grow with its size."""
    usual = Limits()
    flops = float(call.variant.op.flops(**call.problem.dims))
    more = flops / SLOWEST_FLOPS[call.device] + call.elements / SLOWEST_ELEMENTS
    return Limits(usual.first_seconds + more, usual.seconds + more, max(usual.memory, 16 * call.elements))
