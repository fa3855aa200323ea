"""Null kernels: wrong answers made from right ones, which the drawn problems must be able to tell from the truth.

A problem that lets all of them through proves nothing and does not count. The share that a run's problems caught is its
mutation score. A null whose answer never differs from the exact one (a copy null of an op that is a copy; an input
that the op may recompute) is equivalent: it is named, and does not enter the score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.values import drawn_arguments
from harness.proof.reference.oracle import define
from harness.proof.sandbox.buffers import fresh_inouts
from registry.dtypes import BFLOAT16, is_float

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from harness.proof.reference.tolerance import Reference
    from registry.op import Op
    from registry.problem import Problem

    Arrays = Mapping[str, NDArray[Any]]
    Null = Callable[[], Arrays]

__all__ = ["Tally", "nulls_of"]

TILE = 8
SIX_BITS = np.uint32(0xFFFC_0000)
HALF_BITS = np.uint32(0xFFFF_0000)  # what bfloat16 keeps of a float32


def _transposed(right: NDArray[Any]) -> NDArray[Any]:
    if right.ndim < 2:  # noqa: PLR2004 (a vector has no transpose: reverse it)
        return right[::-1]
    return np.swapaxes(right, -1, -2).reshape(right.shape)


def _without(right: NDArray[Any], axis: int, count: int) -> NDArray[Any]:
    wrong = np.moveaxis(right.copy(), axis, 0)
    wrong[max(wrong.shape[0] - count, 0) :] = 0
    return np.moveaxis(wrong, 0, axis)


def _bfloat16(right: NDArray[Any]) -> NDArray[Any]:
    return (np.ascontiguousarray(right, np.float32).view(np.uint32) & HALF_BITS).view(np.float32).reshape(right.shape)


def _float16(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float16).astype(np.float32)


def _six_bits(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with two bits less than bfloat16 has: it would pass through float16 as it is."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) & SIX_BITS).view(np.float32).reshape(values.shape)


OF_AN_OUTPUT: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "zeros": np.zeros_like,
    "NaN": lambda right: np.full_like(right, np.nan),
    "constant mean": lambda right: np.full_like(right, right.mean() if right.size else 0.0),
    "transposed": _transposed,
    "last tile dropped": lambda right: _without(right, -1, TILE),
    "last element dropped": lambda right: _without(right, -1, 1),
    "last row dropped": lambda right: _without(right, 0, 1),
    "off by one": lambda right: np.roll(right, 1, axis=-1),
    "sign": np.negative,
    "scale": lambda right: right * 1.001,
    "float16 output": lambda right: right.astype(np.float16).astype(np.float32),
    "bfloat16 output": _bfloat16,
}


def _replaced(op: Op, problem: Problem, values: Arrays) -> Iterator[tuple[str, Null]]:
    """Nulls that are the definition of something else: an input ignored or rounded, a parameter or `accumulate` missed."""
    for argument in drawn_arguments(op):
        name = argument.name
        if name not in fresh_inouts(op, problem.params):
            yield f"ignores {name}", partial(define, op, {**values, name: np.zeros_like(values[name])}, problem.params)
    name, coarser = ("fewer bits inside", _six_bits) if problem.dtype == BFLOAT16.name else ("float16 inside", _float16)
    rounded = {n: coarser(a) if is_float(a.dtype) else a for n, a in values.items()}
    yield name, partial(define, op, rounded, problem.params)
    for name, choices in op.params.items():
        others = [c for c in choices if c != problem.params[name]] if isinstance(choices, tuple) else []
        if others:
            params = {**problem.params, name: others[problem.seed % len(others)]}
            yield f"ignores parameter {name}", partial(define, op, values, params)


def nulls_of(op: Op, problem: Problem, values: Arrays, right: Arrays) -> Iterator[tuple[str, Null]]:
    """Yield ``name, make``: `make` returns the outputs of one null kernel on this problem.

    Parameters
    ----------
    right : mapping of str to ndarray
        The exact outputs.
    """

    def put(output: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Arrays:
        return {**right, output: change(right[output])}

    for output in op.outputs:
        for name, change in OF_AN_OUTPUT.items():
            yield f"{output}: {name}", partial(put, output, change)
        for argument in drawn_arguments(op):
            if argument.dims == op_dims(op, output):
                yield f"{output}: copy of {argument.name}", partial(_copied, right, output, values[argument.name])
    yield from _replaced(op, problem, values)


def op_dims(op: Op, name: str) -> str:
    """Return the dim string of one argument."""
    return next(a.dims for a in op.arguments if a.name == name)


def _copied(right: Arrays, output: str, source: NDArray[Any]) -> Arrays:
    return {**right, output: source.astype(np.float64)}


@dataclass
class Tally:
    """What a run's problems could tell from the truth.

    Attributes
    ----------
    killed, seen : set of str
        Nulls caught, and nulls that gave a different answer at least once.
    met : set of str
        All nulls that were asked.
    """

    killed: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    met: set[str] = field(default_factory=set)

    def ask(self, op: Op, problem: Problem, values: Arrays, reference: Reference) -> bool:
        """Try all nulls that still live, and others until one dies; return whether any died."""
        right = {n: e.value for n, e in reference.outputs.items()}
        died = False
        with np.errstate(all="ignore"):
            for name, make in nulls_of(op, problem, values, right):
                self.met.add(name)
                if name in self.killed and died:
                    continue
                answer = make()
                wrong = {n: answer[n].astype(e.dtype) for n, e in reference.outputs.items()}
                if reference.judge(wrong).message:
                    self.killed.add(name)
                    self.seen.add(name)
                    died = True
                elif name not in self.seen and self._differs(wrong, reference):
                    self.seen.add(name)
        return died

    @staticmethod
    def _differs(wrong: Arrays, reference: Reference) -> bool:
        return any(not np.array_equal(wrong[n], e.rounded, equal_nan=True) for n, e in reference.outputs.items())

    @property
    def score(self) -> float:
        """Share of the nulls, other than equivalent ones, that were caught."""
        return len(self.killed) / len(self.seen) if self.seen else 0.0

    @property
    def survivors(self) -> list[str]:
        """Nulls that gave a different answer and got away with it."""
        return sorted(self.seen - self.killed)

    @property
    def equivalent(self) -> list[str]:
        """Nulls that never gave a different answer."""
        return sorted(self.met - self.seen)
