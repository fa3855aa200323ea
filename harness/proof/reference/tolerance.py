"""The tolerance of each element of an output: how far a right kernel may be from the exact result.

The tolerance of an element is ``gamma * eps * (condition + |exact| + floor)``: gamma is the op's error law, eps the spacing
of float32. The condition is measured: inputs are rounded at random, and the change of the reference's float64 outputs is the
condition. Where torch shows that a smaller gamma is enough, gamma is cut to a few times torch's own float32 error in the same
units, but never below the share that a plain running sum needs.

A result stored in bfloat16 must be the rounding of a number within that tolerance, so that arithmetic in less than float32
is rejected.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.values import materialise, saved_by
from harness.proof.reference.oracle import run_oracle, run_reference
from registry.dtypes import BFLOAT16, is_float, rounded_to
from registry.error_law import Exact
from registry.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from registry.op import Op

    Index = tuple[int, ...]
    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["Expected", "ReferenceOutputs", "Verdict", "compute_reference", "error_of", "exact_outputs", "floor_of", "gammas"]

FLOAT32 = np.finfo(np.float32)
EPS, TINY, LARGEST = float(FLOAT32.eps), float(FLOAT32.tiny), float(FLOAT32.max)
BFLOAT16_EPS = 2.0**-7
DRAWS = 8  # random roundings; their root mean square is below a tenth of its mean about once in ten million times
PAIRS = 2  # draws that are also done with every rounding reversed
BENT = 0.25  # share of the response: a rounding and its reverse cancel up to here, where the response is linear
TORCH_MULTIPLE = 8.0  # gamma is at most this multiple of torch's worst float32 error of the output
BEYOND_LAW = 2.0  # gamma is this multiple of the same, where torch's own error exceeds the law
LEAST_ULPS = 2.0  # gamma is at least this: the need of a running sum from left to right, measured over every op's domain


@dataclass(frozen=True)
class Verdict:
    """The comparison of one output.

    Attributes
    ----------
    ratio : float
        Largest error over its tolerance; at most 1 if all elements are right.
    message : str
        Describes the worst element and the number of wrong ones; "" if all elements are right.
    worst : str
        The message without the number of wrong elements.
    wrong : int
        The number of wrong elements.
    """

    ratio: float
    message: str = ""
    worst: str = ""
    wrong: int = 0


def error_of(got: NDArray[Any], exact: NDArray[Any]) -> NDArray[Any]:
    """Return a lower bound of the error of a result before it was stored: numbers that bfloat16 rounds alike have no error."""
    stored = got.astype(np.float64)
    error: NDArray[Any] = np.abs(stored - exact)
    if got.dtype != BFLOAT16:
        return error
    nearer = np.nextafter(got, np.where(stored < exact, np.inf, -np.inf).astype(BFLOAT16)).astype(np.float64)
    error = np.abs((stored + nearer) / 2 - exact)
    return np.where(got == exact.astype(BFLOAT16), 0.0, error)


@dataclass(frozen=True)
class Expected:
    """The exact result of one output, and the requirements on each element.

    Attributes
    ----------
    tolerance : ndarray
        Infinite (no requirement) where the dtype cannot hold the result, or where oracle and reference disagree about a
        special value.
    nan, special : ndarray of bool
        Elements that must be NaN, or must not be finite.
    exact : bool
        Whether the output must equal the exact result after rounding.
    granted : ndarray
        Error that is not counted: a kernel may read an argument that the forward pass saved in bfloat16, or recompute it.
    """

    value: NDArray[Any]
    tolerance: NDArray[Any]
    nan: NDArray[Any]
    special: NDArray[Any]
    exact: bool
    dtype: np.dtype[Any]
    granted: NDArray[Any] | float = 0.0

    @property
    def rounded(self) -> NDArray[Any]:
        """The exact result in the dtype of the output."""
        with np.errstate(all="ignore"):
            return self.value.astype(self.dtype)

    def judge(self, name: str, got: NDArray[Any], place: Callable[[Index], Index] = tuple) -> Verdict:
        """Compare an output with the exact result. Comparisons are written so that a NaN fails them.

        `place` maps an index of `got` to the index in the message, where `got` is a part of a larger array.
        """
        free = np.isinf(self.tolerance)
        with np.errstate(all="ignore"):
            if self.exact:
                rounded = self.rounded
                good = (got == rounded) | np.isnan(rounded) & np.isnan(got)
                ratios = np.where(good, 0.0, np.inf)
            else:
                error = np.maximum(error_of(got, self.value) - self.granted, 0.0)
                good = error <= self.tolerance
                ratios = np.where(error > 0, error / self.tolerance, np.where(good, 0.0, np.inf))
            good = np.where(self.special, ~np.isfinite(got), good | free)
            good = np.where(self.nan, np.isnan(got), good)
            ratios = np.where(good & (self.special | free), 0.0, ratios)
        if good.all():
            return Verdict(float(ratios.max(initial=0.0)))
        return self._worst(name, got, np.where(good, -1.0, ratios), int((~good).sum()), place)

    def _worst(
        self, name: str, got: NDArray[Any], ratios: NDArray[Any], wrong: int, place: Callable[[Index], Index]
    ) -> Verdict:
        where = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratios)), ratios.shape))
        index = ", ".join(map(str, place(where)))
        tolerance = 0.0 if self.exact else float((self.tolerance + self.granted)[where])
        exact, actual = float(self.value[where]), float(got[where])
        expected = "NaN" if self.nan[where] else "not finite" if self.special[where] else f"{exact:.9g}"
        stored = " besides the rounding" if self.dtype == BFLOAT16 else ""
        allowed = "must be equal" if self.exact else f"off by {abs(actual - exact):.3g}, allowed {tolerance:.3g}{stored}"
        worst = f"{name}[{index}] = {actual:.9g}, expected {expected} ({allowed})"
        message = f"{worst}; {wrong} of {got.size} elements are wrong"
        return Verdict(max(float(ratios[where]), 1.0), message, worst, wrong)


@dataclass(frozen=True)
class ReferenceOutputs:
    """The reference outputs of one problem: the exact result and the tolerance of each output."""

    outputs: dict[str, Expected]

    def judge(self, outputs: Arrays) -> Verdict:
        """Compare all outputs; the verdict describes the first wrong output."""
        ratio = 0.0
        for name, expected in self.outputs.items():
            verdict = expected.judge(name, outputs[name])
            if verdict.message:
                return verdict
            ratio = max(ratio, verdict.ratio)
        return Verdict(ratio)


def _roundings(values: Arrays, eps: float, seed: int) -> Iterator[tuple[Arrays, Arrays | None]]:
    """Yield the values rounded at random; the first pairs hold also the same values with every rounding reversed."""
    random = np.random.default_rng(seed)
    floats = {n: a.astype(np.float64) for n, a in values.items() if is_float(a.dtype)}
    for draw in range(DRAWS):
        # Infinities are not rounded: the sum would be NaN, and no element that depends on it would be checked.
        moves = {n: eps * random.standard_normal(a.shape) * np.where(np.isfinite(a), a, 0.0) for n, a in floats.items()}
        rounded = {n: floats[n] + moves[n] if n in floats else a for n, a in values.items()}
        reversed_ = {n: floats[n] - moves[n] if n in floats else a for n, a in values.items()}
        yield rounded, reversed_ if draw < PAIRS else None


def _condition(op: Op, values: Arrays, params: Mapping[str, Any], eps: float, seed: int) -> dict[str, NDArray[Any]]:
    """Return per output the root mean square response to inputs rounded at random, in units of eps.

    It is infinite where one rounding is so large that the response is not linear: a rounding and its reverse do not cancel.
    Of ``exp(score - lse)`` with both beyond 1 / eps, one direction overflows and the other gives 0; a few draws cannot show
    how far a right kernel may then be off.
    """
    base = run_reference(op, values, params)
    squares = {n: np.zeros(a.shape) for n, a in base.items()}
    straight = {n: np.ones(a.shape, bool) for n, a in base.items()}
    with np.errstate(all="ignore"):
        for rounded, reversed_ in _roundings(values, eps, seed):
            moved = run_reference(op, rounded, params)
            back = run_reference(op, reversed_, params) if reversed_ else None
            for name in base:
                there = moved[name] - base[name]
                squares[name] += (there / eps) ** 2
                if back:
                    again = back[name] - base[name]
                    most = BENT * np.maximum(np.abs(there), np.abs(again)) + eps * np.abs(base[name])
                    straight[name] &= np.isfinite(again) & (np.abs(there + again) <= most)
        return {n: np.where(straight[n], np.sqrt(total / DRAWS), np.inf) for n, total in squares.items()}


def _before_saving(op: Op, values: Arrays, params: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the outputs of the numpy reference for saved arguments before their rounding.

    Empty for an op without saved arguments, or whose `saved` only constrains drawn arguments.
    """
    if op.saved is None:
        return {}
    with np.errstate(all="ignore"):
        again = {n: np.asarray(a, np.float64) for n, a in saved_by(op, values, params).items()}
        same = all(np.array_equal(a.astype(values[n].dtype), values[n], equal_nan=True) for n, a in again.items())
    return run_reference(op, {**values, **again}, params) if same else {}


def _beside(op: Op, values: Arrays, params: Mapping[str, Any], towards: float) -> dict[str, NDArray[Any]]:
    """Return the outputs of the numpy reference for saved arguments moved to the next number of their dtype."""
    saved = {n: values[n] for n in saved_by(op, values, params)}
    with np.errstate(all="ignore"):
        moved = {n: np.where(np.isfinite(a), np.nextafter(a, a.dtype.type(towards)), a) for n, a in saved.items()}
    return run_reference(op, {**values, **moved}, params)


def _without_lost(condition: Arrays, exact: Arrays, *rounded: Arrays, half: float) -> dict[str, NDArray[Any]]:
    """Return `condition`, infinite where rounding the saved arguments costs an element half its digits.

    Such an element has no right value: a score of 1e20 minus a rounded log-sum-exp of 1e20 is an arbitrary number, and its
    exponential is infinite for one kernel and 0 for another.
    """
    limited = dict(condition)
    with np.errstate(all="ignore"):
        for name, value in exact.items():
            near = half * (np.abs(value) + condition[name])
            kept = np.all([np.abs(other[name] - value) <= near for other in rounded], axis=0)
            limited[name] = np.where(kept, condition[name], np.inf)
    return limited


def compute_reference(op: Op, problem: Problem, values: Arrays) -> ReferenceOutputs:
    """Compute the reference outputs of a problem on given values.

    Parameters
    ----------
    op : Op
    problem : Problem
        Its dims, params and dtype are used, and its seed for the random roundings.
    values : mapping of str to ndarray
        All inputs and in-outs, as `materialise` returns them.
    """
    torch64, torch32 = run_oracle(op, values, problem.params), run_oracle(op, values, problem.params, "float32")
    defined = run_reference(op, values, problem.params)
    gamma, least = gammas(op, problem)
    half_stored = problem.dtype == BFLOAT16.name
    condition: Arrays = {}
    before: Arrays = {}
    if not isinstance(op.error, Exact):
        condition = _condition(op, values, problem.params, EPS, problem.seed)
        if before := _before_saving(op, values, problem.params):
            beside = (_beside(op, values, problem.params, end) for end in (np.inf, -np.inf))
            half = math.sqrt(BFLOAT16_EPS if half_stored else EPS)
            condition = _without_lost(condition, before, defined, *beside, half=half)
    floats = [a for a in values.values() if is_float(a.dtype)]
    infinite, finite = any(np.isinf(a).any() for a in floats), all(np.isfinite(a).all() for a in floats)
    exact = _exact_here(op, problem, values, torch64, torch32)
    with np.errstate(all="ignore"):
        torch_error = {n: np.abs(torch32[n].astype(np.float64) - a) for n, a in torch64.items()}
    outputs = {}
    for argument in (a for a in op.arguments if a.name in op.outputs):
        name, dtype = argument.name, argument.numpy_dtype(problem.dtype)
        value, by_reference = torch64[name], defined[name]
        clear = np.isfinite(value) & np.isfinite(by_reference) & np.isfinite(torch32[name])
        clear &= np.isfinite(rounded_to(dtype, value)) & (np.abs(value) < LARGEST)
        # If oracle or reference overflows from finite inputs, the element is not checked.
        special = ~np.isfinite(value) & ~np.isfinite(by_reference) & (not finite)
        nan = special & np.isnan(value) & np.isnan(by_reference) & (not infinite)
        if isinstance(op.error, Exact):
            tolerance = np.where(clear, 0.0, np.inf)
        else:
            unit = EPS * (condition[name] + np.abs(value) + floor_of(op, name, values, problem.params, value.shape)) + TINY
            allowed = _cut(gamma, least, torch_error[name], np.where(clear, unit, np.inf))
            tolerance = np.where(clear, allowed * unit, np.inf)
        granted: NDArray[Any] | float = 0.0
        if half_stored and name in before:
            with np.errstate(all="ignore"):
                granted = np.nan_to_num(np.abs(by_reference - before[name]))
        tolerance = np.where(np.isnan(tolerance), np.inf, tolerance)
        outputs[name] = Expected(value, tolerance, nan, special, name in exact, dtype, granted)
    return ReferenceOutputs(outputs)


def floor_of(op: Op, name: str, values: Arrays, params: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the floor of an output by the op's error law, 0 where the law has none."""
    if name not in op.error.floor:
        return np.zeros(shape)
    arrays = [a.astype(np.float64) if is_float(a.dtype) else a for a in values.values()]
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.abs(op.error.floor[name](*arrays, **params)), shape)


def gammas(op: Op, problem: Problem) -> tuple[float, float]:
    """Return the law's gamma, and its lower limit, below which it is never cut.

    The law grows with the square root of the number of terms K, which holds for independent roundings. With equal terms the
    roundings depend on each other: each partial sum rounds the same way. The bound is then K (Higham 2002, equation 4.4).
    """
    gamma = op.error.gamma(problem.dims)
    terms = (gamma / op.error.ulps) ** 2 if op.error.ulps else 0.0
    if problem.distribution == "constant":
        return max(gamma, terms), max(gamma, terms)
    return gamma, LEAST_ULPS * math.sqrt(terms)


def _cut(gamma: float, least: float, torch_error: NDArray[Any], unit: NDArray[Any]) -> float:
    """Return gamma, cut to a multiple of torch's own error on this problem.

    Where torch's error exceeds the law, the law does not hold: it is linear, and the response to roundings of its size is not
    (softmax of scores beyond 4e6). There a kernel may be twice as wrong as torch.
    """
    with np.errstate(all="ignore"):
        seen = float(np.nan_to_num(torch_error / unit).max(initial=0.0))
    if seen > gamma:
        return BEYOND_LAW * seen
    return min(gamma, max(TORCH_MULTIPLE * seen, least))


def _exact_here(op: Op, problem: Problem, values: Arrays, torch64: Arrays, torch32: Arrays) -> set[str]:
    if isinstance(op.error, Exact):
        return set(op.outputs)
    if problem.distribution != "integers" or problem.special_values:
        return set()
    limit = 1 / float(np.finfo(np.float32).epsneg)
    bounds = run_reference(op, {n: np.abs(a) for n, a in values.items()}, problem.params)
    return {
        name
        for name in exact_outputs(op)
        if bounds[name].max(initial=0.0) < limit and np.array_equal(torch64[name], torch32[name].astype(np.float64))
    }


@cache
def exact_outputs(op: Op) -> frozenset[str]:
    """Return the outputs that are whole numbers for whole-number inputs, as found on a few problems of odd sizes.

    With small integers every partial sum of these outputs can be represented. Any order of summation then gives the same bits,
    and the smallest deviation shows, of a dropped tail or of half precision.
    """
    exact = set(op.outputs)
    for seed in range(3):
        dims = {
            n: r[min(len(r) - 1, prime + seed)]
            for (n, r), prime in zip(op.domain.items(), itertools.cycle((7, 13, 3, 5, 11)), strict=False)
        }
        drawn = {n: v[seed % len(v)] for n, v in op.params.items() if not isinstance(v, str)}
        problem = Problem(op.name, dims, {**drawn, **op.bound_params(dims)}, distribution="integers", seed=seed)
        values = materialise(op, problem)
        for name, result in run_oracle(op, values, problem.params).items():
            if not (np.isfinite(result).all() and np.array_equal(result, np.round(result))):
                exact.discard(name)
    return frozenset(exact)
