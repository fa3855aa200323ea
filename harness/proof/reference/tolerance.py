"""How far from the exact result an honest kernel may stand, element by element; nothing here is a typed tolerance.

The budget of an element is ``gamma * eps * (condition + |exact| + floor)``: gamma is the op's error law, eps the spacing
of float32, and the condition is measured, by rounding the inputs at random and watching the float64 definition move.
Gamma is cut where torch shows that less is needed: to a few times torch's own float32 error in the same units, though
never below the share that a plain running sum needs.

What is stored in bfloat16 must be what rounding makes of a number within that budget, so that arithmetic in less than
float32 shows.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.values import materialise, saved_by
from harness.proof.reference.oracle import answer, define
from registry.dtypes import BFLOAT16, is_float, rounded_to
from registry.error_law import Exact
from registry.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from registry.op import Op

    Index = tuple[int, ...]
    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["Expected", "Reference", "Verdict", "error_of", "exact_outputs", "floor_of", "gammas", "refer"]

FLOAT32 = np.finfo(np.float32)
EPS, TINY, LARGEST = float(FLOAT32.eps), float(FLOAT32.tiny), float(FLOAT32.max)
BFLOAT16_EPS = 2.0**-7
DRAWS = 8  # the root mean square of 8 draws falls below a tenth of its mean about once in ten million
PAIRS = 2  # of the draws, with their reverse beside them
BENT = 0.25  # of the response: what a rounding and its reverse may leave over
TORCH_MULTIPLE = 8.0  # times torch's worst float32 error of the output
BEYOND_LAW = 2.0  # times the same, where torch's own error exceeds the law
LEAST_ULPS = 2.0  # of the law: what a running sum from left to right needs, seen over every op's domain


@dataclass(frozen=True)
class Verdict:
    """The comparison of one output.

    Attributes
    ----------
    ratio : float
        Largest error over its budget; at most 1 if all is well.
    message : str
        The worst element in words; "" if all is well.
    worst : str
        The same without the number of wrong elements.
    wrong : int
        How many elements are wrong.
    """

    ratio: float
    message: str = ""
    worst: str = ""
    wrong: int = 0


def error_of(got: NDArray[Any], exact: NDArray[Any]) -> NDArray[Any]:
    """Return how far a result was off before it was stored, at least: what bfloat16 rounds to the same number is no error."""
    found = got.astype(np.float64)
    error: NDArray[Any] = np.abs(found - exact)
    if got.dtype != BFLOAT16:
        return error
    nearer = np.nextafter(got, np.where(found < exact, np.inf, -np.inf).astype(BFLOAT16)).astype(np.float64)
    error = np.abs((found + nearer) / 2 - exact)
    return np.where(got == exact.astype(BFLOAT16), 0.0, error)


@dataclass(frozen=True)
class Expected:
    """The exact result of one output, and what is asked of each element.

    Attributes
    ----------
    budget : ndarray
        Infinite where the dtype cannot hold the result, or where inputs were special and two references disagree.
    nan, special : ndarray of bool
        Elements that must be NaN, or must not be finite.
    exact : bool
        Whether equality after rounding is asked for.
    granted : ndarray
        Error that counts for nothing: what was saved in bfloat16 may be read, or computed again.
    """

    value: NDArray[Any]
    budget: NDArray[Any]
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
        """Compare; what must hold is asserted, so that a NaN never passes.

        `place` turns an index of `got` into the one that the message names, where `got` is a part of a larger array.
        """
        free = np.isinf(self.budget)
        with np.errstate(all="ignore"):
            if self.exact:
                rounded = self.rounded
                good = (got == rounded) | np.isnan(rounded) & np.isnan(got)
                ratios = np.where(good, 0.0, np.inf)
            else:
                error = np.maximum(error_of(got, self.value) - self.granted, 0.0)
                good = error <= self.budget
                ratios = np.where(error > 0, error / self.budget, np.where(good, 0.0, np.inf))
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
        budget = 0.0 if self.exact else float((self.budget + self.granted)[where])
        wanted, found = float(self.value[where]), float(got[where])
        asked = "NaN" if self.nan[where] else "not finite" if self.special[where] else f"{wanted:.9g}"
        stored = " besides the rounding" if self.dtype == BFLOAT16 else ""
        allowed = "must be equal" if self.exact else f"off by {abs(found - wanted):.3g}, allowed {budget:.3g}{stored}"
        worst = f"{name}[{index}] = {found:.9g}, expected {asked} ({allowed})"
        message = f"{worst}; {wrong} of {got.size} elements are wrong"
        return Verdict(max(float(ratios[where]), 1.0), message, worst, wrong)


@dataclass(frozen=True)
class Reference:
    """The answer key of one problem: per output, the exact result and its budget."""

    outputs: dict[str, Expected]

    def judge(self, outputs: Arrays) -> Verdict:
        """Compare all outputs; the first wrong one is told."""
        ratio = 0.0
        for name, expected in self.outputs.items():
            verdict = expected.judge(name, outputs[name])
            if verdict.message:
                return verdict
            ratio = max(ratio, verdict.ratio)
        return Verdict(ratio)


def _roundings(values: Arrays, eps: float, seed: int) -> Iterator[tuple[Arrays, Arrays | None]]:
    """Yield the values rounded at random; beside the first ones, the same with every rounding reversed."""
    random = np.random.default_rng(seed)
    floats = {n: a.astype(np.float64) for n, a in values.items() if is_float(a.dtype)}
    for draw in range(DRAWS):
        # An infinity has no neighbours: moved by its own share it would become NaN, and whatever depends on it free.
        moves = {n: eps * random.standard_normal(a.shape) * np.where(np.isfinite(a), a, 0.0) for n, a in floats.items()}
        rounded = {n: floats[n] + moves[n] if n in floats else a for n, a in values.items()}
        reversed_ = {n: floats[n] - moves[n] if n in floats else a for n, a in values.items()}
        yield rounded, reversed_ if draw < PAIRS else None


def _condition(op: Op, values: Arrays, params: Mapping[str, Any], eps: float, seed: int) -> dict[str, NDArray[Any]]:
    """Return per output the root mean square response to inputs rounded at random, in units of eps.

    It is infinite where one rounding is so much that the response is no longer straight: a rounding and its reverse do
    not cancel. Of ``exp(score - lse)`` with both beyond 1 / eps, one direction overflows and the other gives 0; how far
    an honest kernel may then be off cannot be learnt from a few draws.
    """
    base = define(op, values, params)
    squares = {n: np.zeros(a.shape) for n, a in base.items()}
    straight = {n: np.ones(a.shape, bool) for n, a in base.items()}
    with np.errstate(all="ignore"):
        for rounded, reversed_ in _roundings(values, eps, seed):
            moved = define(op, rounded, params)
            back = define(op, reversed_, params) if reversed_ else None
            for name in base:
                there = moved[name] - base[name]
                squares[name] += (there / eps) ** 2
                if back:
                    again = back[name] - base[name]
                    most = BENT * np.maximum(np.abs(there), np.abs(again)) + eps * np.abs(base[name])
                    straight[name] &= np.isfinite(again) & (np.abs(there + again) <= most)
        return {n: np.where(straight[n], np.sqrt(total / DRAWS), np.inf) for n, total in squares.items()}


def _before_saving(op: Op, values: Arrays, params: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return what the definition gives with what the forward pass saved before it was rounded.

    Nothing for an op that saves nothing, or that only constrains what was drawn.
    """
    if op.saved is None:
        return {}
    with np.errstate(all="ignore"):
        again = {n: np.asarray(a, np.float64) for n, a in saved_by(op, values, params).items()}
        same = all(np.array_equal(a.astype(values[n].dtype), values[n], equal_nan=True) for n, a in again.items())
    return define(op, {**values, **again}, params) if same else {}


def _beside(op: Op, values: Arrays, params: Mapping[str, Any], towards: float) -> dict[str, NDArray[Any]]:
    """Return what the definition gives if all that was saved had been rounded one further, up or down."""
    saved = {n: values[n] for n in saved_by(op, values, params)}
    with np.errstate(all="ignore"):
        moved = {n: np.where(np.isfinite(a), np.nextafter(a, a.dtype.type(towards)), a) for n, a in saved.items()}
    return define(op, {**values, **moved}, params)


def _without_lost(condition: Arrays, exact: Arrays, *rounded: Arrays, half: float) -> dict[str, NDArray[Any]]:
    """Return `condition`, infinite where rounding what the forward pass saved costs an element half its digits.

    Nobody can answer there: a score of 1e20 minus a rounded log-sum-exp of 1e20 is anything, and its exponential an infinity
    for one kernel and 0 for the next.
    """
    found = dict(condition)
    with np.errstate(all="ignore"):
        for name, value in exact.items():
            near = half * (np.abs(value) + condition[name])
            kept = np.all([np.abs(other[name] - value) <= near for other in rounded], axis=0)
            found[name] = np.where(kept, condition[name], np.inf)
    return found


def refer(op: Op, problem: Problem, values: Arrays) -> Reference:
    """Compute the answer key of a problem on given values.

    Parameters
    ----------
    op : Op
    problem : Problem
        Its dims, params, dtype and seed (of the random roundings) are used.
    values : mapping of str to ndarray
        All inputs and in-outs, as `materialise` returns them.
    """
    torch64, torch32 = answer(op, values, problem.params), answer(op, values, problem.params, "float32")
    defined = define(op, values, problem.params)
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
    found = {}
    for argument in (a for a in op.arguments if a.name in op.outputs):
        name, dtype = argument.name, argument.numpy_dtype(problem.dtype)
        value, by_definition = torch64[name], defined[name]
        clear = np.isfinite(value) & np.isfinite(by_definition) & np.isfinite(torch32[name])
        clear &= np.isfinite(rounded_to(dtype, value)) & (np.abs(value) < LARGEST)
        # What only overflowed on the way, from finite inputs, is nobody's to answer.
        special = ~np.isfinite(value) & ~np.isfinite(by_definition) & (not finite)
        nan = special & np.isnan(value) & np.isnan(by_definition) & (not infinite)
        if isinstance(op.error, Exact):
            budget = np.where(clear, 0.0, np.inf)
        else:
            unit = EPS * (condition[name] + np.abs(value) + floor_of(op, name, values, problem.params, value.shape)) + TINY
            allowed = _cut(gamma, least, torch_error[name], np.where(clear, unit, np.inf))
            budget = np.where(clear, allowed * unit, np.inf)
        granted: NDArray[Any] | float = 0.0
        if half_stored and name in before:
            with np.errstate(all="ignore"):
                granted = np.nan_to_num(np.abs(by_definition - before[name]))
        budget = np.where(np.isnan(budget), np.inf, budget)
        found[name] = Expected(value, budget, nan, special, name in exact, dtype, granted)
    return Reference(found)


def floor_of(op: Op, name: str, values: Arrays, params: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the floor of an output by the op's error law, 0 where the law has none."""
    if name not in op.error.floor:
        return np.zeros(shape)
    arrays = [a.astype(np.float64) if is_float(a.dtype) else a for a in values.values()]
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.abs(op.error.floor[name](*arrays, **params)), shape)


def gammas(op: Op, problem: Problem) -> tuple[float, float]:
    """Return the law's gamma, and the share of it that is never cut away.

    The law is the square root of the number of terms K, for roundings that do not conspire. Equal terms do: each partial
    sum rounds the same way. There the bound that always holds, K, is granted (Higham 2002, equation 4.4).
    """
    gamma = op.error.gamma(problem.dims)
    terms = (gamma / op.error.ulps) ** 2 if op.error.ulps else 0.0
    if problem.distribution == "constant":
        return max(gamma, terms), max(gamma, terms)
    return gamma, LEAST_ULPS * math.sqrt(terms)


def _cut(gamma: float, least: float, torch_error: NDArray[Any], unit: NDArray[Any]) -> float:
    """Return gamma, cut to a few times torch's own error on this problem.

    Where torch's error exceeds the law, the law does not hold: it is linear, and the response to roundings of its size is not
    (softmax of scores beyond 1e6). There a kernel may be twice as wrong as torch.
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
    bounds = define(op, {n: np.abs(a) for n, a in values.items()}, problem.params)
    return {
        name
        for name in exact_outputs(op)
        if bounds[name].max(initial=0.0) < limit and np.array_equal(torch64[name], torch32[name].astype(np.float64))
    }


@cache
def exact_outputs(op: Op) -> frozenset[str]:
    """Return the outputs that are whole numbers wherever the inputs are, as found on a few ragged problems.

    On small integers every partial sum of such an output can be represented, so any order of summation gives the same
    bits, and a kernel that drops a tail or computes in half precision has nowhere to hide.
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
        for name, result in answer(op, values, problem.params).items():
            if not (np.isfinite(result).all() and np.array_equal(result, np.round(result))):
                exact.discard(name)
    return frozenset(exact)
