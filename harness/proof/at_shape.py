"""Compares one call at the shape of a training run with the reference: whole outputs, under the op's error law.

The full judge of the battery (`reference.tolerance.compute_reference`) measures the tolerance of every element with a dozen
evaluations of the reference. On a hundred million elements the measurement takes minutes, and more memory than a machine has.
Three steps reduce the cost without loosening any tolerance:

- The problem is cut into parts along a dim whose indices do not depend on each other (`harness.proof.reference.slices`).
- An element within a lower bound of its tolerance is within its tolerance. The first bound needs only torch's float64 result
  and the floor of the error law; its condition is 0. For sums of products the next bound uses a lower bound of the condition,
  the root of the squared terms (`reference.sums_of_products`). For other ops the bound grows with each random rounding of the
  inputs.
- The full judge compares only the rows (or columns, or other indices of the cut dim) with an element beyond the bound.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from harness.proof.cases.memory import PROOF_COPIES, shortage
from harness.proof.reference.oracle import run_oracle, run_reference
from harness.proof.reference.slices import Part, parts
from harness.proof.reference.sums_of_products import is_sum_of_products, root_of_squared_terms
from harness.proof.reference.tolerance import DRAWS, EPS, TINY, Verdict, compute_reference, error_of, floor_of, gammas
from registry.dtypes import is_float
from registry.error_law import Exact
from registry.errors import CrucibleError
from registry.machine import thread_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from registry.op import Op
    from registry.problem import Problem

    Arrays = Mapping[str, NDArray[Any]]
    Bound = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # per output, the exact result and a lower bound of the tolerance
    Masks = dict[str, NDArray[np.bool_]]

__all__ = ["Outcome", "TooLargeError", "compare"]

PART_ELEMENTS = 1 << 20  # of all arrays of a part together; larger arrays are mapped and unmapped for each part
FEWEST = 1 << 12  # indices for the full judge, enough for a typical value of torch's error, by which gamma is cut
# The most memory in use at a time, in float64 copies of all arguments: for a bound, and for the full judge.
COPIES, FULL_JUDGE_COPIES = 5, PROOF_COPIES


class TooLargeError(Exception):
    """The reference would need more memory than there is."""


@dataclass(frozen=True)
class Outcome:
    """The comparison of one call.

    Attributes
    ----------
    ratio : float
        An upper bound of the largest error over its tolerance; more than 1 if an element is wrong.
    message : str
        The worst element and the number of wrong elements; "" if all elements are right.
    compared, elements : int
        The number of compared elements, and of all elements, of the outputs.
    """

    ratio: float
    message: str
    compared: int
    elements: int

    def __str__(self) -> str:
        share = "all" if self.compared == self.elements else f"{self.compared:,} of"
        return f"{share} {self.elements:,} elements"


def compare(op: Op, problem: Problem, values: Arrays, outputs: Arrays) -> Outcome:
    """Compare the outputs of one call; stop at the first part with a wrong element.

    Raises
    ------
    TooLargeError
        The reference would need more memory than there is.
    """
    elements = sum(a.size for a in outputs.values())
    cut = parts(op, problem, values, outputs, PART_ELEMENTS)
    ratio, wrong, compared, worst = 0.0, 0, 0, ""
    # Each thread judges a part: BLAS gets one thread, for otherwise more threads than cores would run.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(thread_count()) as pool:
        for verdict, size in _in_order(pool, cut):
            compared += size
            wrong += verdict.wrong
            if verdict.message and verdict.ratio > ratio:
                worst = verdict.worst
            ratio = max(ratio, verdict.ratio)
            if wrong:
                break
    if not wrong and compared != elements:
        raise CrucibleError(f"{op.name}: only {compared} of {elements} elements were compared: the parts miss some")
    message = f"{worst}; {wrong:,} of {compared:,} compared elements are wrong" if wrong else ""
    return Outcome(ratio, message, compared, elements)


def _in_order(pool: ThreadPoolExecutor, cut: Iterator[Part]) -> Iterator[tuple[Verdict, int]]:
    """Yield the verdict and the number of elements of each part; at most one part per thread exists at a time."""
    while group := list(itertools.islice(cut, thread_count())):
        verdicts = list(pool.map(_judge, group))
        yield from ((v, sum(a.size for a in part.outputs.values())) for v, part in zip(verdicts, group, strict=True))


def _judge(part: Part) -> Verdict:
    """Compare one part."""
    if isinstance(part.op.error, Exact):
        return _judge_fully(part)
    ratio = 0.0
    for bound, next_is_cheap in _bounds(part):
        ratio, good = _within(part, bound)
        if all(mask.all() for mask in good.values()):
            return Verdict(ratio)
        doubtful = _doubtful(part, good)
        if not next_is_cheap and 0 < len(doubtful) <= len(part.indices) // 4:
            verdict = _judge_fully(part.some(_with_others(doubtful, len(part.indices))))
            return Verdict(max(ratio, verdict.ratio), verdict.message, verdict.worst, verdict.wrong)
    return _judge_fully(part)


def _bounds(part: Part) -> Iterator[tuple[Bound, bool]]:
    """Yield lower bounds of the tolerance, from loose to tight, and whether the next one takes little time."""
    op, problem, values = part.op, part.problem, part.values
    exact = run_oracle(op, values, problem.params)
    allowed = min(gammas(op, problem))
    with np.errstate(all="ignore"):
        units = {n: np.abs(a) for n, a in exact.items()}
        for name in op.error.floor:
            units[name] += floor_of(op, name, values, problem.params, units[name].shape)
    products = is_sum_of_products(op)
    yield {n: (exact[n], allowed * (EPS * unit + TINY)) for n, unit in units.items()}, products
    _check_memory(part, COPIES)
    conditions = iter([root_of_squared_terms(op, values, problem.params)]) if products else _conditions(op, values, problem)
    for condition in conditions:
        yield {n: (exact[n], allowed * (EPS * (condition[n] + unit) + TINY)) for n, unit in units.items()}, False


def _conditions(op: Op, values: Arrays, problem: Problem) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield lower bounds of the condition after one random rounding, two, ...; each sum is divided by the final number."""
    random = np.random.default_rng(problem.seed)
    floats = {n: a.astype(np.float64) for n, a in values.items() if is_float(a.dtype)}
    base = run_reference(op, values, problem.params)
    squares = {n: np.zeros(a.shape) for n, a in base.items()}
    for _ in range(DRAWS):
        rounded = {n: a + a * (EPS * random.standard_normal(a.shape, np.float32)) for n, a in floats.items()}
        moved = run_reference(op, {**values, **rounded}, problem.params)
        with np.errstate(all="ignore"):
            for name, total in squares.items():
                total += ((moved[name] - base[name]) / EPS) ** 2  # noqa: PLW2901 (in place)
            yield {n: np.sqrt(total / DRAWS) for n, total in squares.items()}


def _within(part: Part, bound: Bound) -> tuple[float, Masks]:
    """Return the largest error over its bound among the elements within their bounds, and the masks of these elements."""
    ratio, good = 0.0, {}
    with np.errstate(all="ignore"):
        for name, (exact, tolerance) in bound.items():
            ratios = error_of(part.outputs[name], exact) / tolerance
            good[name] = ratios <= 1  # false for NaN
            ratio = max(ratio, float(ratios.max(initial=0.0, where=good[name])))
    return ratio, good


def _doubtful(part: Part, good: Masks) -> NDArray[Any]:
    """Return the positions along the part's dim with an element beyond its bound; empty if the part has no dim."""
    if not part.dim:
        return np.arange(0)
    doubtful = np.zeros(len(part.indices), bool)
    for name, mask in good.items():
        axis = part.axis(name)
        doubtful |= ~mask.all(axis=tuple(i for i in range(mask.ndim) if i != axis))
    return np.flatnonzero(doubtful)


def _with_others(which: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the positions `which` and, if they are few, further positions spread over the part."""
    others = np.linspace(0, length - 1, min(FEWEST, length)).astype(np.intp)
    return np.union1d(which, others)


def _judge_fully(part: Part) -> Verdict:
    """Compare a part by the full judge of the battery."""
    _check_memory(part, FULL_JUDGE_COPIES)
    ratio, wrong, worst = 0.0, 0, Verdict(0.0)
    for name, expected in compute_reference(part.op, part.problem, part.values).outputs.items():
        verdict = expected.judge(name, part.outputs[name], partial(part.place, name))
        ratio, wrong = max(ratio, verdict.ratio), wrong + verdict.wrong
        if verdict.message and verdict.ratio > worst.ratio:
            worst = verdict
    return Verdict(ratio, worst.message, worst.worst, wrong)


def _check_memory(part: Part, copies: int) -> None:
    if message := shortage(part.op, part.problem.dims, copies):
        raise TooLargeError(f"the reference {message}")
