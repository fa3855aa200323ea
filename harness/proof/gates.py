"""The gates: they call a variant, compare its outputs, and raise `Rejected` with the name of the gate.

Every test case gets `check_call` and `check_values`. Each class in `CHECKS` makes further calls and compares their outputs. The
calls come before the comparisons, so that the reference outputs are computed while the variant is called. `Accumulation`, and
`Contents` after a difference, also call the variant while they compare.

==============  ===============================================================================================
contract        the variant returns None and raises nothing
simulation      the simulator finds no race, access out of bounds, uninitialised read, ... (CUDA variants)
isolation       the variant's process does not crash, hang, exit or change state that its process shares
memory          guard bands and inputs are unchanged, every output element was written, and no result depends on the
                contents of outputs and scratch memory before the call
values          every element is within its tolerance of torch in float64 (forward and update ops)
gradients       the same for backward ops, against autograd; accumulating twice gives the sum
exact           on small integers, whole-number outputs have the same bits as the exact result
specials        outputs hold NaN and infinities where the exact result holds them, and nowhere else
statelessness   outputs do not depend on earlier calls or on addresses: other values in the same buffers, one element
                changed, the same values in other buffers
determinism     a repeated call gives the same bits, unless the variant is declared ``run_to_run``
non-vacuity     the problems can tell a right kernel from fake kernels
==============  ===============================================================================================
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from harness.proof.sandbox.buffers import FINITE, NAN, STALE, Buffers, bits_of
from harness.proof.sandbox.client import DeviceSettings, Died, Raised
from registry.enums import Device, Status
from registry.error_law import Exact
from registry.op import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from harness.proof.cases.selection import ExtraChecks
    from harness.proof.reference.cache import ReferenceCache, SolvedProblem
    from harness.proof.reference.tolerance import Verdict
    from harness.proof.sandbox.client import Worker
    from registry.op import Op
    from registry.problem import Problem
    from registry.variant import Variant

    Arrays = Mapping[str, NDArray[Any]]
    Call = tuple["Case", Arrays]  # a call, and its outputs

__all__ = ["CHECKS", "Case", "Check", "Rejected", "check_call", "check_in_fresh_process", "check_repeats", "check_values"]

SHIFT = 4096 + 64  # bytes between the usual buffers and the other buffers of the gate statelessness


class Rejected(Exception):  # noqa: N818 (the outcome of a check)
    """A variant failed a gate on a problem."""

    def __init__(self, gate: str, message: str, problem: Problem, *, status: Status = Status.FAILED) -> None:
        self.gate, self.message, self.problem, self.status = gate, message, problem, status
        self.ratio = 0.0
        self.case: Case | None = None
        super().__init__(f"{gate}: {message}")

    @classmethod
    def by_value(cls, gate: str, case: Case, verdict: Verdict) -> Self:
        """Return the rejection of a wrong value; it keeps the case, so that the call can be repeated in a fresh process."""
        rejected = cls(gate, verdict.message, case.problem)
        rejected.ratio, rejected.case = verdict.ratio, case
        return rejected


@dataclass(frozen=True)
class Case:
    """One variant on one problem, with the reference outputs, which the variant never sees.

    Attributes
    ----------
    before : {"nan", "finite", "stale"}
        The contents of outputs and scratch memory before a call, as in `Buffers.fill`.
    """

    variant: Variant
    solved: SolvedProblem
    reference_cache: ReferenceCache
    worker: Worker
    threads: int
    device: Device = Device.CPU
    before: str = NAN

    @property
    def op(self) -> Op:
        """The op."""
        return self.variant.op

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.solved.problem

    def on(self, solved: SolvedProblem) -> Case:
        """Return the same case on other values."""
        return dataclasses.replace(self, solved=solved)

    def after(self, before: str) -> Case:
        """Return the same case with other contents of outputs and scratch memory before the call."""
        return dataclasses.replace(self, before=before)


def check_call(case: Case, *, shift: int = 0, mode: str = "fast", order: str | int = "ascending") -> dict[str, NDArray[Any]]:
    """Call the variant once and return its outputs: gates contract, isolation, memory and simulation.

    Parameters
    ----------
    shift : int
        Bytes by which the buffers are moved.
    mode, order : str
        The mode and the order of warps in which the simulator runs a CUDA variant.
    """
    size = case.variant.workspace_size(case.problem.dims, case.threads) if case.variant.workspace else None
    buffers = Buffers(case.op, case.problem, size, shift)
    buffers.fill(case.worker.memory, case.solved.values, case.before)
    try:
        settings = None if case.device == Device.CPU else DeviceSettings(case.device, mode, order)
        case.worker.call(case.variant, buffers, case.threads, settings)
    except Raised as outcome:
        if outcome.fault:
            raise Rejected("simulation", str(outcome), case.problem, status=Status(outcome.fault)) from None
        raise Rejected("contract", str(outcome), case.problem) from None
    except Died as outcome:
        raise Rejected("isolation", str(outcome), case.problem, status=outcome.status) from None
    if damage := buffers.damage(case.worker.memory, case.solved.values):
        raise Rejected("memory", damage, case.problem)
    return buffers.outputs(case.worker.memory)


def _gate_of_values(case: Case, name: str) -> str:
    if case.problem.special_values:
        return "specials"
    if case.solved.reference.outputs[name].exact and not isinstance(case.op.error, Exact):
        return "exact"
    return "gradients" if case.op.direction is Direction.BACKWARD else "values"


def check_values(case: Case, outputs: Arrays, gate: str = "") -> float:
    """Compare with the reference outputs and return the worst error over its tolerance.

    Gates values, gradients, exact and specials.
    """
    worst = 0.0
    for name, expected in case.solved.reference.outputs.items():
        verdict = expected.judge(name, outputs[name])
        if verdict.message:
            raise Rejected.by_value(gate or _gate_of_values(case, name), case, verdict)
        worst = max(worst, verdict.ratio)
    return worst


def _same_bits(one: Arrays, other: Arrays) -> str:
    for name, array in one.items():
        different = np.flatnonzero(bits_of(array) != bits_of(other[name]))
        if different.size:
            where = int(different[0])
            values = f"{array.reshape(-1)[where]:.9g}, then {other[name].reshape(-1)[where]:.9g}"
            return f"{name} differs at element {where}: {values} ({different.size} in all)"
    return ""


def check_repeats(case: Case, outputs: Arrays, again: Arrays) -> None:
    """Compare the outputs of two calls on the same values: gate determinism."""
    if case.variant.determinism != "bitwise":
        check_values(case, again, "determinism")
    elif message := _same_bits(outputs, again):
        raise Rejected("determinism", f"two calls on the same values: {message}", case.problem)


class Check:
    """A check that calls the variant more than once on a test case."""

    def applies(self, case: Case, extra_checks: ExtraChecks) -> bool:
        """Return whether a test case gets this check; by default, every test case does."""
        return True

    def call(self, case: Case) -> list[Call]:
        """Call the variant; the reference outputs may still be in computation."""
        return []

    def judge(self, case: Case, outputs: Arrays, calls: list[Call]) -> None:
        """Raise `Rejected` if `outputs`, those of the first call, or the outputs of the `calls` of this check are wrong."""
        raise NotImplementedError


class Contents(Check):
    """Gate memory: the results do not depend on the contents of outputs and scratch memory before the call."""

    def call(self, case: Case) -> list[Call]:
        """Call with finite numbers, or with the data of the call before, instead of NaN."""
        other = case.after((FINITE, STALE)[case.problem.seed % 2])
        return [(other, check_call(other, order=case.problem.seed))]

    def judge(self, case: Case, outputs: Arrays, calls: list[Call]) -> None:
        """Compare with the first call.

        If the results differ, two more calls find out whether the kernel reads memory that it has not written (gate memory)
        or gives other results on each call (gate determinism).
        """
        ((other, again),) = calls
        try:
            check_repeats(other, outputs, again)
        except Rejected as rejected:
            for _ in range(2):
                check_repeats(other, outputs, check_call(case))
            held = {FINITE: "finite numbers", STALE: "the data of the call before"}[other.before]
            message = f"with {held} in its outputs and scratch memory before the call, instead of NaN: {rejected.message}"
            raise Rejected("memory", message, case.problem) from None


class Order(Check):
    """Gate determinism: the results do not depend on the order in which the simulator runs the warps."""

    def applies(self, case: Case, extra_checks: ExtraChecks) -> bool:
        """Return whether the simulator runs the variant."""
        return extra_checks.checked and case.device == Device.SIM

    def call(self, case: Case) -> list[Call]:
        """Call in the checked mode of the simulator, with the warps in descending order."""
        return [(case, check_call(case, mode="checked", order="descending"))]

    def judge(self, case: Case, outputs: Arrays, calls: list[Call]) -> None:
        """Compare the bits, if the variant is deterministic."""
        ((_, descending),) = calls
        if case.variant.determinism == "bitwise" and (message := _same_bits(outputs, descending)):
            raise Rejected("determinism", f"warps in descending order: {message}", case.problem)


class OneThread(Check):
    """The gates of `check_values`, for a call with one thread."""

    def applies(self, case: Case, extra_checks: ExtraChecks) -> bool:
        """Return whether the other calls use more threads."""
        return extra_checks.more_calls and case.threads > 1 and case.device == Device.CPU

    def call(self, case: Case) -> list[Call]:
        """Call with one thread."""
        single = dataclasses.replace(case, threads=1)
        return [(single, check_call(single.after(FINITE)))]

    def judge(self, case: Case, outputs: Arrays, calls: list[Call]) -> None:
        """Compare with the reference outputs."""
        for called, its_outputs in calls:
            check_values(called, its_outputs)


class Statelessness(Check):
    """Gate statelessness: the results depend neither on earlier calls nor on addresses."""

    def applies(self, case: Case, extra_checks: ExtraChecks) -> bool:
        """Return whether the test case gets the gate of this name."""
        return extra_checks.statelessness

    def call(self, case: Case) -> list[Call]:
        """Call with other values in the same buffers, with one element changed, then with the first values in other buffers."""
        cache = case.reference_cache
        others = [case.on(solved) for solved in (cache.redrawn(case.solved), cache.changed(case.solved))]
        return [
            *((other, check_call(other.after(STALE))) for other in others),
            (case, check_call(case.after(FINITE), shift=SHIFT)),
        ]

    def judge(self, case: Case, outputs: Arrays, calls: list[Call]) -> None:
        """Compare the calls on other values with their reference outputs, and the last call with the first."""
        *others, (_, moved) = calls
        for other, its_outputs in others:
            check_values(other, its_outputs)
        if case.variant.determinism != "bitwise":
            check_values(case, moved, "statelessness")
        elif message := _same_bits(outputs, moved):
            raise Rejected("statelessness", f"the same values in other buffers, after other calls: {message}", case.problem)


class Accumulation(Check):
    """Gate gradients: a call that accumulates onto the exact results of the first call gives the sum."""

    def applies(self, case: Case, extra_checks: ExtraChecks) -> bool:
        """Return whether the test case gets more calls."""
        return extra_checks.more_calls

    def judge(self, case: Case, outputs: Arrays, calls: list[Call]) -> None:
        """Call once more, because the call needs the exact results, and compare."""
        twice = case.reference_cache.added(case.solved)
        if twice is not None:
            added = case.on(twice)
            check_values(added, check_call(added.after(FINITE)), "specials" if case.problem.special_values else "gradients")


CHECKS: tuple[Check, ...] = (Contents(), Order(), OneThread(), Statelessness(), Accumulation())


def check_in_fresh_process(rejected: Rejected) -> Rejected:
    """Repeat a call that gave a wrong value in a fresh process; a right value there means that the variant keeps state."""
    if rejected.case is None:
        return rejected
    rejected.case.worker.renew()
    try:
        check_values(rejected.case, check_call(rejected.case))
    except Rejected as again:
        return again
    if rejected.gate != "determinism":
        rejected.gate = "statelessness"
        rejected.message += "; in a fresh process the value is right"
    return rejected
